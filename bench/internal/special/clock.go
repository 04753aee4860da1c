package special

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is the machine's monotonic clock, which is the same in all processes. What time.Now carries is not: it counts from
// each process's start.
func now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("BUG: no monotonic clock: " + err.Error())
	}
	return time.Duration(t.Nano())
}
