//go:build unix

package interrupt_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

func TestContext(t *testing.T) {
	leak := goleak.IgnoreCurrent()
	cause, again := errors.New("interrupted"), make(chan struct{}, 1)
	ctx, stop := interrupt.Context(t.Context(), cause, func() { again <- struct{}{} })
	kill := func() {
		t.Helper()
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	<-ctx.Done()
	if got := context.Cause(ctx); !errors.Is(got, cause) {
		t.Errorf("the cause is %v", got)
	}
	select {
	case <-again:
		t.Error("the first signal counts as the second")
	default:
	}
	kill()
	<-again
	stop()
	// os/signal's own goroutine stays with the process once there has been a signal.
	goleak.VerifyNone(t, leak, goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
}
