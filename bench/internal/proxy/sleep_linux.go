package proxy

import (
	"time"

	"golang.org/x/sys/unix"
)

// exactTimers lets the kernel wake this thread without the 50 us that it may otherwise add to save power.
func exactTimers() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }

// nanosleep sleeps in the kernel, again after each signal, until the time has passed.
func nanosleep(d time.Duration) {
	rest := unix.NsecToTimespec(d.Nanoseconds())
	for unix.Nanosleep(&rest, &rest) == unix.EINTR {
	}
}
