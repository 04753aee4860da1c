package lockotel

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

func TestReason(t *testing.T) {
	full := fmt.Errorf("attempt: %w", manager.ErrLockTableFull)
	for _, c := range []struct {
		err  error
		want string
	}{
		{manager.ErrAlreadyRun, "already_run"},
		{&manager.AcquireError{Reason: manager.ErrNotAcquired}, "not_acquired"},
		{fmt.Errorf("outside: %w", &manager.AcquireError{Reason: manager.ErrDeadlock}), "deadlock"},
		{&manager.AcquireError{Reason: manager.ErrAttempts, Failures: []error{full}}, "lock_table_full"},
		{&manager.AcquireError{Reason: manager.ErrAttempts, Failures: []error{errors.New("refused")}}, "attempts"},
		{&manager.AcquireError{Reason: context.Canceled, Failures: []error{full}}, "canceled"},
		{&manager.AcquireError{Reason: context.DeadlineExceeded}, "deadline_exceeded"},
		{errors.New("another"), "_OTHER"},
	} {
		if got := reason(c.err); got != c.want {
			t.Errorf("%v is %q, should be %q", c.err, got, c.want)
		}
	}
	names := map[string]bool{}
	for _, r := range reasons {
		if got := reason(r.err); got != r.name || names[got] {
			t.Errorf("%v is %q", r.err, got)
		}
		names[r.name] = true
	}
}

func TestEndOf(t *testing.T) {
	for want, err := range map[string]error{
		"": manager.ErrReleased, "lost": fmt.Errorf("%w: %w", manager.ErrLost, context.Canceled), "closed": manager.ErrClosed, "canceled": context.Canceled,
	} {
		if got := endOf(err); got != want {
			t.Errorf("%v is %q, should be %q", err, got, want)
		}
	}
}
