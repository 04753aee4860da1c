package event

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Now is CLOCK_MONOTONIC in nanoseconds: one clock for all processes of the machine, which nobody sets.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(fmt.Sprint("BUG: no monotonic clock: ", err))
	}
	return t.Nano()
}
