package forward

import (
	"errors"
	"syscall"
	"time"
)

// exactTimers lets the kernel wake this thread without the 50 us that it may otherwise add to save power.
func exactTimers() {
	const setTimerSlack, nanosecond = 29, 1
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, nanosecond, 0)
}

// nanosleep sleeps in the kernel, again after each signal, until the time has passed.
func nanosleep(d time.Duration) {
	rest := syscall.NsecToTimespec(d.Nanoseconds())
	for errors.Is(syscall.Nanosleep(&rest, &rest), syscall.EINTR) {
	}
}
