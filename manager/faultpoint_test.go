package manager_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/faultpoint"
	"github.com/lockkeeper/lockkeeper/manager"
)

// What the demo installs reaches the keepers of a manager that is opened afterwards, and of no other.
func TestInstalledFaultpoint(t *testing.T) {
	before := open(t)
	var steps atomic.Int64
	faultpoint.Install(func(_ int64, step string) {
		if steps.Add(1) == 1 {
			panic("injected at " + step)
		}
	})
	after := open(t)
	faultpoint.Install(nil)
	release(t, acquire(t, before, "k"))
	if n := steps.Load(); n != 0 {
		t.Errorf("a manager from before came by %d times", n)
	}
	if _, err := after.Acquire(bounded(t), "k"); !errors.Is(err, manager.ErrKeeperFailed) {
		t.Errorf("acquired by a keeper that panics: %v", err)
	}
	release(t, acquire(t, after, "k"))
	release(t, acquire(t, open(t), "k"))
}
