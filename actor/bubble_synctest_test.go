package actor

import (
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// bubble runs a test on a clock that jumps: within it every duration is exact.
func bubble(t *testing.T, change func(*rigConfig), test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		test(t, newRig(t, change))
	})
}

// sleep lets time pass in a bubble, and all that is due happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
