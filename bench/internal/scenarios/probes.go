package scenarios

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// memory is what this process has in use.
type memory struct{ heap, stacks, resident float64 }

// settled measures after everything that can be given back has been given back.
func settled() (memory, error) {
	// The first collection runs what waits for it (finalizers, pools); the second frees what they held.
	runtime.GC()
	debug.FreeOSMemory()
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	resident, err := harness.RSS()
	return memory{heap: float64(samples[0].Value.Uint64()), stacks: float64(samples[1].Value.Uint64()),
		resident: float64(resident)}, err
}

// grown returns what settled measures now on top of an earlier measurement.
func (m memory) grown() (memory, error) {
	now, err := settled()
	return memory{now.heap - m.heap, now.stacks - m.stacks, now.resident - m.resident}, err
}

// now is the machine's monotonic clock, which is the same in all processes. The one of time.Now counts from each process's start.
func now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("BUG: no monotonic clock: " + err.Error())
	}
	return time.Duration(t.Nano())
}

const (
	quietFor   = 100 * time.Millisecond
	quietShare = 20 // of the time, in hundredths of a processor, that a process may work and still count as quiet
	quietBound = 10 * time.Second
)

// quiet waits until this process has next to nothing left to do: then all its callers wait. Systems whose waiters poll never
// come to rest, so it is bounded.
func quiet(ctx context.Context) error {
	for began, used := time.Now(), cpu(); time.Since(began) < quietBound; {
		if err := interrupt.Sleep(ctx, quietFor); err != nil {
			return err
		}
		more := cpu()
		if more-used < quietFor*quietShare/100 {
			return nil
		}
		used = more
	}
	return nil
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic("BUG: no resource usage: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// hands take and release keys at the same time: enough to fill the batches of systems that make batches.
const hands = 1000

// together makes n calls on many goroutines, and returns the first error.
func together(n int, call func(i int) error) error {
	var next atomic.Int64
	var broken atomic.Pointer[error]
	var running sync.WaitGroup
	for range min(hands, n) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && broken.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := call(i); err != nil {
					broken.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	running.Wait()
	if err := broken.Load(); err != nil {
		return *err
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
