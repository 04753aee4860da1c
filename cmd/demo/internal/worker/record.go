package worker

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
)

// recorder collects what the goroutines of one worker process see.
type recorder struct {
	mu sync.Mutex // guards everything; each use is a few nanoseconds
	Tally
	interval    Waits         // since the last progress
	typicalWait time.Duration // a moving average; cancellations are planned within it
}

func newRecorder(keys int) *recorder {
	t := Tally{Keys: make([]oracle.Seen, keys), Waits: NewWaits(), ReaderWaits: NewWaits(), WriterWaits: NewWaits()}
	return &recorder{Tally: t, interval: NewWaits()}
}

// note changes the tally.
func (r *recorder) note(change func(*Tally)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.Tally)
}

// waited records the wait of an acquisition that was granted.
func (r *recorder) waited(wait time.Duration, shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.typicalWait += (wait - r.typicalWait) / 16
	r.Waits.Record(wait)
	if shared {
		r.ReaderWaits.Record(wait)
	} else {
		r.WriterWaits.Record(wait)
	}
	r.interval.Record(wait)
}

// wrote records how a holder's write went.
func (r *recorder) wrote(key int, err error) {
	r.note(func(t *Tally) {
		switch {
		case err == nil:
			t.Keys[key].Grants++
			t.Acquired++
			return
		case errors.Is(err, oracle.ErrUncertain):
			t.Keys[key].Uncertain++
		}
		t.fail(err)
	})
}

// fail counts a failure and keeps the first of each kind as an example.
func (t *Tally) fail(err error) {
	t.Failed++
	t.because(Reason{Kind: kindOf(err), Count: 1, First: err.Error()})
}

// progress is the counts so far, with the waits since the last call.
func (r *recorder) progress() Tally {
	fresh := NewWaits()
	r.mu.Lock()
	defer r.mu.Unlock()
	told := Tally{Counts: r.Counts, Waits: r.interval, Reasons: slices.Clone(r.Reasons)}
	r.interval = fresh
	return told
}

// cancelAfter draws the moment of a cancellation. Every order of magnitude is as likely as the next, from before the
// request has left the process to twice the usual wait: so every stage of an acquisition is hit, with keys that are
// free as with keys that many wait for.
func (r *recorder) cancelAfter() time.Duration {
	const soonest = 10 * time.Microsecond
	r.mu.Lock()
	latest := max(2*r.typicalWait, time.Millisecond)
	r.mu.Unlock()
	return time.Duration(float64(soonest) * math.Pow(float64(latest)/float64(soonest), rand.Float64()))
}

// kindOf puts an error into a class, so that a million failures of one kind are one line of the report. Errors name
// keys and times, so their texts differ; what is innermost usually does not.
func kindOf(err error) string {
	var pgErr *pgconn.PgError
	var netErr *net.OpError
	switch {
	case errors.As(err, &pgErr):
		return "server: " + pgErr.Message + " (SQLSTATE " + pgErr.Code + ")"
	case errors.As(err, &netErr):
		return "network: " + netErr.Op + ": " + rootText(netErr.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	default:
		return rootText(err)
	}
}

// rootText is the text of the innermost error; of several that were joined, the last one's.
func rootText(err error) string {
	switch e := err.(type) { //nolint:errorlint // this is the unwrapping itself
	case interface{ Unwrap() error }:
		if next := e.Unwrap(); next != nil {
			return rootText(next)
		}
	case interface{ Unwrap() []error }:
		if all := e.Unwrap(); len(all) > 0 {
			return rootText(all[len(all)-1])
		}
	}
	return strings.TrimSpace(err.Error())
}
