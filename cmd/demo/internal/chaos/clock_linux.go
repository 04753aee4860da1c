package chaos

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// now is CLOCK_MONOTONIC in nanoseconds. All processes of the machine share it, and nobody sets it.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(fmt.Sprint("BUG: no monotonic clock: ", err))
	}
	return t.Nano()
}

// until asks at growing intervals until the answer is true or the context ends.
func until(ctx context.Context, so func() bool) error {
	for pause := 2 * time.Millisecond; !so(); pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return nil
}
