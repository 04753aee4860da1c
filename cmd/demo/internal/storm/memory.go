package storm

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"
)

// Memory is a figure at three moments, in mebibytes.
type Memory struct {
	Before float64 `json:"before"`
	Peak   float64 `json:"peak"`
	After  float64 `json:"after"`
}

// measure tells the objects and stacks in use, and what the kernel counts (0 where it does not say). It neither stops the
// world nor allocates much, so that it can be called while the storm is on.
func measure() (inUse, resident float64) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	inUse = mebibytes(samples[0].Value.Uint64() + samples[1].Value.Uint64())
	statm, _ := os.ReadFile("/proc/self/statm")
	if fields := bytes.Fields(statm); len(fields) > 1 {
		pages, _ := strconv.ParseUint(string(fields[1]), 10, 64)
		resident = mebibytes(pages * uint64(os.Getpagesize()))
	}
	return inUse, resident
}

func mebibytes(n uint64) float64 { return float64(n*10/(1<<20)) / 10 }

// settled measures after everything that can be given back has been given back.
func settled() (inUse, resident float64) {
	// The first collection runs what waits for it (finalizers, pools); the second frees what they held.
	runtime.GC()
	debug.FreeOSMemory()
	return measure()
}

// watch keeps the peaks until stop is called.
func (r *Round) watch() (stop func()) {
	look := func() {
		inUse, resident := measure()
		r.MemoryMiB.Peak, r.ResidentMiB.Peak = max(r.MemoryMiB.Peak, inUse), max(r.ResidentMiB.Peak, resident)
	}
	end := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			look()
			select {
			case <-ticker.C:
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		watcher.Wait()
		look()
	}
}
