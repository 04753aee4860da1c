package actor

import (
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
)

// A keeper's stack stays within the 2 KiB that a goroutine begins with: a hundred thousand keys in use are as many stacks, and one that has
// grown does not shrink. The race detector makes frames larger, so under it the test runs once more without.
func TestAKeepersStackIsSmall(t *testing.T) {
	if underRace(t) {
		out, err := exec.CommandContext(t.Context(), "go", "test", "-race=false", "-count=1", "-run", "^"+t.Name()+"$", ".").CombinedOutput()
		if err != nil {
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

func underRace(t *testing.T) bool {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("the test does not know how it was built")
	}
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// stacks is how many bytes the stacks of all goroutines take.
func stacks() int64 {
	runtime.GC() // which frees those of goroutines that have ended
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}
