package special

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/lockkeeper/lockkeeper/bench/internal/measure"
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
	resident, err := measure.RSS(os.Getpid())
	return memory{heap: float64(samples[0].Value.Uint64()), stacks: float64(samples[1].Value.Uint64()),
		resident: float64(resident)}, err
}

func (m memory) minus(o memory) memory {
	return memory{m.heap - o.heap, m.stacks - o.stacks, m.resident - o.resident}
}
