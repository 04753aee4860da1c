package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuardCancelsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t.Context(), time.Second, true)
		defer g.cancel()
		time.Sleep(time.Second + 1) //nolint:forbidigo // in a synctest bubble
		synctest.Wait()
		if g.ctx.Err() == nil {
			t.Fatal("the acquisition was not cancelled")
		}
		if g.disarm() {
			t.Error("an acquisition that was cancelled counts as alive")
		}
		if !g.asked.Load() {
			t.Error("the cancellation does not count as planned")
		}
	})
}

// A holder's context must not end because its time to be cancelled comes while it holds.
func TestGuardLeavesAHolderAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining, drain := context.WithCancel(t.Context())
		g := newGuard(draining, time.Second, true)
		defer g.cancel()
		if !g.disarm() {
			t.Fatal("an acquisition that nobody cancelled counts as cancelled")
		}
		drain()
		time.Sleep(2 * time.Second) //nolint:forbidigo // in a synctest bubble
		synctest.Wait()
		if g.ctx.Err() != nil {
			t.Error("the hold was ended")
		}
	})
}

func TestGuardEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining, drain := context.WithCancel(t.Context())
		g := newGuard(draining, 0, false)
		defer g.cancel()
		drain()
		synctest.Wait()
		if g.ctx.Err() == nil {
			t.Fatal("the acquisition goes on after the end of the run")
		}
		if g.disarm() || g.asked.Load() {
			t.Error("a withdrawal at the end counts as a planned cancellation")
		}
	})
}
