package manager_test

import (
	"errors"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A8. No time to wait is one try: it does not wait without end, and says that there was no time.
func TestA8NoTimeToWait(t *testing.T) {
	m, other := open(t), open(t)
	ctx := bounded(t)
	theirs, ours := acquire(t, other, "theirs"), acquire(t, m, "ours")
	for name, call := range again {
		for _, key := range []string{"theirs", "ours"} {
			got, ok := inTime(t, name+" of a held key", fateOf(only(func() error { return call(ctx, m, key, manager.WithWaitTimeout(0)) })))
			if !ok {
				return
			}
			reason := manager.ErrWaitTimeout
			if name == "TryAcquire" {
				reason = manager.ErrNotAcquired
			}
			wantIs(t, got.err, reason)
			_ = failure(t, got.err)
			if errors.Is(got.err, manager.ErrWaitTimeout) == errors.Is(got.err, manager.ErrNotAcquired) {
				t.Errorf("%s of %s has both reasons: %v", name, key, got.err)
			}
		}
		if err := call(ctx, m, "free", manager.WithWaitTimeout(0)); err.Error() != "granted" && err.Error() != "f runs" {
			t.Errorf("%s of a free key: %v", name, err)
		}
	}
	release(t, theirs)
	release(t, ours)
}
