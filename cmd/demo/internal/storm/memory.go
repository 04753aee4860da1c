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

// usage is what this process has of the system's memory, in bytes.
type usage struct {
	inUse    uint64 // objects on Go's heap, and goroutines' stacks
	resident uint64 // what the kernel counts; 0 where it does not say
}

// measure neither stops the world nor allocates much, so that it can be called while the storm is on.
func measure() usage {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return usage{inUse: samples[0].Value.Uint64() + samples[1].Value.Uint64(), resident: residentSet()}
}

// settled measures after everything that can be given back has been given back.
func settled() usage {
	// The first collection runs what waits for it (finalizers, pools); the second frees what they held.
	runtime.GC()
	debug.FreeOSMemory()
	return measure()
}

func residentSet() uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// watch samples the memory until stop is called, which returns the highest figures.
func watch() (stop func() usage) {
	var peak usage
	look := func() {
		now := measure()
		peak.inUse = max(peak.inUse, now.inUse)
		peak.resident = max(peak.resident, now.resident)
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
	return func() usage {
		close(end)
		watcher.Wait()
		look()
		return peak
	}
}

func mebibytes(n uint64) float64 { return float64(n*10/(1<<20)) / 10 }
