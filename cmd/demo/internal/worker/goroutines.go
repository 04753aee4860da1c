package worker

import (
	"runtime"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

// settleBound is how long a goroutine that has done its work may take to be gone: it is still counted between its last
// statement and the scheduler's taking it away, and pgx's pool does not wait for its own to end.
const settleBound = 5 * time.Second

// CountGoroutines waits until no more goroutines are left than there were before, or a short while has passed.
func CountGoroutines(before int) wire.Goroutines { return countGoroutines(before, settleBound) }

func countGoroutines(before int, bound time.Duration) wire.Goroutines {
	deadline := time.Now().Add(bound)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		after := runtime.NumGoroutine()
		if after <= before {
			return wire.Goroutines{Before: before, After: after}
		}
		if time.Now().After(deadline) {
			return wire.Goroutines{Before: before, After: after, Stacks: stacks()}
		}
		<-tick.C
	}
}

// stacks is what every goroutine is doing, cut at a length that can still be read.
func stacks() string {
	buffer := make([]byte, 256<<10)
	return string(buffer[:runtime.Stack(buffer, true)])
}
