package manager_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A11. Two replicas run one job, the second when the first has ended: each of two Do runs it, and of two Once the first alone.
func TestA11ReplicasOneAfterTheOther(t *testing.T) {
	s := server(t)
	ctx, noon := bounded(t), noonAnd(0, 0)
	one, two := openOn(t, s, noon.option()), openOn(t, s, noon.option())
	locked, once := 0, 0
	for _, m := range []*manager.Manager{one, two} {
		if err := m.Do(ctx, "job", did(&locked)); err != nil {
			t.Error(err)
		}
	}
	if err := one.Once(ctx, "job", time.Minute, did(&once)); err != nil {
		t.Error(err)
	}
	wantIs(t, two.Once(ctx, "job", time.Minute, did(&once)), manager.ErrAlreadyRun)
	if locked != 2 || once != 1 {
		t.Errorf("the job ran %d times under a lock, should be 2; and %d times with Once, should be 1", locked, once)
	}
}
