package fleet

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

// Snapshot is the state of the whole load at one moment, for the progress display.
type Snapshot struct {
	wire.Counts
	Elapsed   time.Duration
	PerSecond float64 // since the snapshot before
	Waiting   int
	Held      int
	Sessions  int
	P50, P99  time.Duration // of the waits that ended lately
}

// window sees the waits of the last two intervals, so that a percentile is not made of a handful.
type window struct {
	now, before *hdrhistogram.Histogram
	lastTotal   uint64
	lastTime    time.Duration
}

func newWindow() window {
	return window{now: coarse(), before: coarse()}
}

// coarse is a histogram for a display: two digits.
func coarse() *hdrhistogram.Histogram { return hdrhistogram.New(1, (24 * time.Hour).Microseconds(), 2) }

func (w *window) add(encoded []byte) {
	if len(encoded) == 0 {
		return
	}
	// A line of progress that cannot be read costs a moment's percentiles, and no more.
	if h, err := hdrhistogram.Decode(encoded); err == nil {
		w.now.Merge(h)
	}
}

func (f *Fleet) snapshot(elapsed time.Duration) Snapshot {
	s := Snapshot{Elapsed: elapsed}
	for _, l := range f.latest {
		s.Counts.Add(l.Counts)
		s.Waiting += l.Waiting
		s.Held += l.Held
		s.Sessions += l.Sessions
	}
	w := &f.window
	if passed := elapsed - w.lastTime; passed > 0 {
		s.PerSecond = float64(s.Acquired-w.lastTotal) / passed.Seconds()
	}
	w.lastTotal, w.lastTime = s.Acquired, elapsed

	both := hdrhistogram.Import(w.now.Export())
	both.Merge(w.before)
	s.P50 = time.Duration(both.ValueAtQuantile(50)) * time.Microsecond
	s.P99 = time.Duration(both.ValueAtQuantile(99)) * time.Microsecond
	w.before.Reset()
	w.now, w.before = w.before, w.now
	return s
}
