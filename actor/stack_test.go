package actor

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// A keeper's stack stays within the 2 KiB that a goroutine begins with: a hundred thousand keys in use are as many stacks, and one that has
// grown does not shrink. The test runs once more in a process of its own, where two things that would hide it are off: the race detector, which
// makes frames larger, and the runtime's choice of the size that goroutines begin with, from the stacks it met in its last collection.
func TestAKeepersStackIsSmall(t *testing.T) {
	const fixedStart = "adaptivestackstart=0"
	if os.Getenv("GODEBUG") != fixedStart {
		again := exec.CommandContext(t.Context(), "go", "test", "-race=false", "-count=1", "-run", "^"+t.Name()+"$", ".")
		again.Env = append(os.Environ(), "GODEBUG="+fixedStart)
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	const keys = 5000
	s := instantSupervisor(t)
	before := stacks()
	for id := range int64(keys) {
		first := granted(t, submit(t, s, key(id)))
		second := submit(t, s, key(id))
		first.Release(nil) // to the second, by a local hand-off
		granted(t, second).Release(nil)
		granted(t, submit(t, s, key(id)))
	}
	each := (stacks() - before) / keys
	if each < 1000 || each > 2500 {
		t.Errorf("%d bytes of stack for each keeper", each)
	}
}

// stacks is how many bytes the stacks of all goroutines take.
func stacks() int64 {
	runtime.GC() // which frees those of goroutines that have ended
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}
