package lockotel

import (
	"context"
	"errors"

	"github.com/lockkeeper/lockkeeper/manager"
)

// reasons are the values of error.type. The first that fits counts: ErrAlreadyRun is an ErrNotAcquired too.
var reasons = []struct {
	err  error
	name string
}{
	{manager.ErrAlreadyRun, "already_run"},
	{manager.ErrNotAcquired, "not_acquired"},
	{manager.ErrWaitTimeout, "wait_timeout"},
	{manager.ErrDeadlock, "deadlock"},
	{manager.ErrHeld, "held"},
	{manager.ErrSlots, "slots"},
	{manager.ErrTooManyWaiters, "too_many_waiters"},
	{manager.ErrTooManyKeys, "too_many_keys"},
	{manager.ErrTooManyLocks, "too_many_locks"},
	{manager.ErrTooManySessions, "too_many_sessions"},
	{manager.ErrLockTableFull, "lock_table_full"},
	{manager.ErrTooManyConnections, "too_many_connections"},
	{manager.ErrNotMigrated, "not_migrated"},
	{manager.ErrNoToken, "no_token"},
	{manager.ErrUnsafe, "unsafe"},
	{manager.ErrKeeperFailed, "keeper_failed"},
	{manager.ErrLost, "lost"},
	{manager.ErrClosed, "closed"},
	{manager.ErrEmptyKey, "empty_key"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "deadline_exceeded"},
	{manager.ErrAttempts, "attempts"},
}

// otherReason is what OpenTelemetry has for what a list does not name.
const otherReason = "_OTHER"

// reason is the error.type of an acquisition that failed, or of a hold's end. Failed attempts on the way count only where they are why the
// acquisition failed: one that met a limit and then was canceled is canceled.
func reason(err error) string {
	if acquire := (*manager.AcquireError)(nil); errors.As(err, &acquire) && !errors.Is(acquire.Reason, manager.ErrAttempts) {
		err = acquire.Reason
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return otherReason
}

// failed says whether an acquisition failed, where "held by another" is not the answer that was asked for.
func failed(reason string) bool { return reason != "not_acquired" && reason != "already_run" }

// endOf is the error.type of a hold's end; empty where it was released. A loss has a session's error as its reason, or a context's: it is a loss.
func endOf(err error) string {
	switch {
	case errors.Is(err, manager.ErrLost):
		return "lost"
	case errors.Is(err, manager.ErrReleased):
		return ""
	}
	return reason(err)
}
