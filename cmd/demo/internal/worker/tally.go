package worker

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

// tally collects what the goroutines of one worker process see.
type tally struct {
	acquired, cancelled, cutShort, withdrawn, failed, lost, afterLoss atomic.Uint64

	keys []keyTally
	// typicalWait is a moving average in nanoseconds; cancellations are planned within it.
	typicalWait atomic.Int64

	// slowestNews is in nanoseconds: the longest that a holder went on after it had met another one, until it heard that
	// its lock was lost.
	slowestNews atomic.Int64

	mu       sync.Mutex // guards what follows; each use is a few nanoseconds
	waits    *hdrhistogram.Histogram
	interval *hdrhistogram.Histogram // since the last progress line
	reasons  map[string]*wire.Reason
}

type keyTally struct{ grants, uncertain, overlaps, exposed atomic.Uint64 }

// maxWait is beyond any run that makes sense; longer waits count as this.
const maxWait = 24 * time.Hour

// reasonKinds bounds the kinds of failure that are told apart.
const reasonKinds = 16

func newTally(keys int) *tally {
	return &tally{
		keys:     make([]keyTally, keys),
		waits:    NewHistogram(),
		interval: NewHistogram(),
		reasons:  make(map[string]*wire.Reason),
	}
}

// NewHistogram is a histogram of waits in microseconds, exact to three digits.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxWait.Microseconds(), 3)
}

// waited records the wait of an acquisition that was granted.
func (t *tally) waited(wait time.Duration) {
	old := t.typicalWait.Load()
	// Another goroutine's update may be overwritten: an average forgives that.
	t.typicalWait.Store(old + (wait.Nanoseconds()-old)/16)

	// A wait below the clock's or the histogram's resolution still is one.
	us := min(max(wait.Microseconds(), 1), maxWait.Microseconds())
	t.mu.Lock()
	defer t.mu.Unlock()
	// The value was clamped to the histogram's range, which is all that these could complain about.
	_ = t.waits.RecordValue(us)
	_ = t.interval.RecordValue(us)
}

func (t *tally) heardAfter(d time.Duration) {
	for {
		old := t.slowestNews.Load()
		if int64(d) <= old || t.slowestNews.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// wrote records how a holder's write went.
func (t *tally) wrote(key int, err error) {
	switch {
	case err == nil:
		t.keys[key].grants.Add(1)
		t.acquired.Add(1)
	case errors.Is(err, oracle.ErrUncertain):
		t.keys[key].uncertain.Add(1)
		t.fail(err)
	default:
		t.fail(err)
	}
}

// fail counts a failure and keeps the first of each kind as an example.
func (t *tally) fail(err error) {
	t.failed.Add(1)
	kind := kindOf(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	reason := t.reasons[kind]
	if reason == nil {
		if len(t.reasons) >= reasonKinds {
			kind = "other"
			reason = t.reasons[kind]
		}
		if reason == nil {
			reason = &wire.Reason{Kind: kind, First: err.Error()}
			t.reasons[kind] = reason
		}
	}
	reason.Count++
}

func (t *tally) counts() wire.Counts {
	return wire.Counts{
		Acquired:  t.acquired.Load(),
		Cancelled: t.cancelled.Load(),
		CutShort:  t.cutShort.Load(),
		Withdrawn: t.withdrawn.Load(),
		Failed:    t.failed.Load(),
		Lost:      t.lost.Load(),
		AfterLoss: t.afterLoss.Load(),
	}
}

// takeInterval encodes the waits since the last call.
func (t *tally) takeInterval() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	encoded, err := encode(t.interval)
	t.interval.Reset()
	return encoded, err
}

func encode(h *hdrhistogram.Histogram) ([]byte, error) {
	encoded, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("encoding a histogram: %w", err)
	}
	return encoded, nil
}

// result is called when no goroutine records any more.
func (t *tally) result() (*wire.Result, error) {
	waits, err := encode(t.waits)
	if err != nil {
		return nil, err
	}
	r := &wire.Result{Counts: t.counts(), Waits: waits, Keys: make([]wire.KeyCount, len(t.keys)), SlowestNews: time.Duration(t.slowestNews.Load())}
	for i := range t.keys {
		k := &t.keys[i]
		r.Keys[i] = wire.KeyCount{Grants: k.grants.Load(), Uncertain: k.uncertain.Load(), Overlaps: k.overlaps.Load(), Exposed: k.exposed.Load()}
	}
	for _, reason := range t.reasons {
		r.Reasons = append(r.Reasons, *reason)
	}
	return r, nil
}

// cancelAfter draws the moment of a cancellation. Every order of magnitude is as likely as the next, from before the
// request has left the process to twice the usual wait: so every stage of an acquisition is hit, with keys that are
// free as with keys that many wait for.
func (t *tally) cancelAfter() time.Duration {
	const soonest = 10 * time.Microsecond
	latest := max(2*time.Duration(t.typicalWait.Load()), time.Millisecond)
	return time.Duration(float64(soonest) * math.Pow(float64(latest)/float64(soonest), rand.Float64()))
}
