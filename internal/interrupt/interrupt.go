// Package interrupt lets a program clean up when it is asked to end.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context ends with the cause at the first Ctrl-C, termination or hang-up. The second calls again, which is to end the
// program on the spot. stop ends the context and gives the signals their usual meaning back; it is called once.
func Context(parent context.Context, cause error, again func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2) // the first and the second, should nobody have looked in between
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case <-signals:
			case <-done:
				return
			}
			if first {
				cancel(cause)
			} else {
				again()
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}
