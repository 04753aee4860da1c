package fields

import (
	"sync"
	"sync/atomic"
)

type result chan error

type channels struct {
	none chan int
	// sent by a; received by b; capacity 1: one answer
	noCloser chan int
	noRoom   chan int                      // sent by a; received by b; closed by a
	list     []chan int                    // closed by a
	byName   result                        // sent by a; closed by a; capacity 1: one answer
	table    map[int]chan struct{}         // received by b
	behind   atomic.Pointer[chan struct{}] // written by a; closed by a; nothing is sent
	notEmpty chan int                      // closed by a; received by b; nothing is sent
	inner    struct {
		reply chan int
	}
}

var global = make(chan int)

func local() {
	type inside struct{ c chan int }
	c := make(chan int) // a local channel needs nothing
	_ = inside{c}
}

type fineChannels struct {
	// One request at a time is Sent By callers and received by
	// run; it is NEVER CLOSED, and unbuffered.
	requests chan int
	a, b     <-chan int                // capacity 2: why; closed by x; received by y; sent by z
	over     chan struct{}             // closed by run; received by callers; nothing is sent
	calls    func(chan int) <-chan int // no channel, but a function
}

type shared struct {
	byKey sync.Map
	// free keeps buffers.
	free *sync.Pool
	fine sync.Map // measured: a third of the time of a map behind an owner
}

var pool sync.Pool

// A profile of the benchmark has half its allocations here.
var finePool sync.Pool

type published struct {
	count atomic.Int64
	// How many there are.
	total, sum atomic.Int64
	many       [4]atomic.Bool
	pointer    *atomic.Int64

	// Of these all are written by run.
	one atomic.Int64
	two atomic.Int64 // the second

	apart atomic.Int64
	// Another comment begins another group.
	other atomic.Int64
	own   atomic.Int64 // Written by Close.
	next  atomic.Int64
}
