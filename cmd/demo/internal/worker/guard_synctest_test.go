package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuardCancelsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t.Context(), time.Second)
		defer g.cancel()
		time.Sleep(time.Second + 1)
		synctest.Wait()
		if g.ctx.Err() == nil {
			t.Fatal("the acquisition was not cancelled")
		}
		if alive, asked := g.disarm(); alive || !asked {
			t.Errorf("an acquisition that was cancelled as planned counts as alive: %v, planned: %v", alive, asked)
		}
	})
}

// A holder's context must not end because its time to be cancelled comes while it holds.
func TestGuardLeavesAHolderAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining, drain := context.WithCancel(t.Context())
		g := newGuard(draining, time.Second)
		defer g.cancel()
		if alive, _ := g.disarm(); !alive {
			t.Fatal("an acquisition that nobody cancelled counts as cancelled")
		}
		drain()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if g.ctx.Err() != nil {
			t.Error("the hold was ended")
		}
	})
}

func TestGuardEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining, drain := context.WithCancel(t.Context())
		g := newGuard(draining, time.Hour)
		defer g.cancel()
		drain()
		synctest.Wait()
		if g.ctx.Err() == nil {
			t.Fatal("the acquisition goes on after the end of the run")
		}
		if alive, asked := g.disarm(); alive || asked {
			t.Error("a withdrawal at the end counts as a planned cancellation")
		}
	})
}
