package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/manager"
)

// recorder writes the history of a worker process. Each record, or those of a set of keys, is one write to a pipe, which is atomic: no goroutine
// waits for another, and what was written outlives the process.
type recorder struct {
	out        io.Writer
	process    int
	generation int
	last       atomic.Uint64 // the number of the last acquisition
}

func (r *recorder) write(records ...history.Record) {
	all := make([]byte, 0, len(records)*history.Size)
	for i := range records {
		all = records[i].Append(all)
	}
	if _, err := r.out.Write(all); err != nil {
		// From here on nothing would be recorded, so nothing may be done.
		fmt.Fprintln(os.Stderr, "the history cannot be written:", err)
		os.Exit(1)
	}
}

// leastStall is the shortest stall that is recorded.
const leastStall, stallEvery = 100 * time.Millisecond, 20 * time.Millisecond

// watchStalls records when this process gets no processor: on a busy machine that may cost it its locks.
func (r *recorder) watchStalls(done <-chan struct{}) {
	ticker := time.NewTicker(stallEvery)
	defer ticker.Stop()
	for last := now(); ; {
		select {
		case <-ticker.C:
		case <-done:
			return
		}
		at := now()
		if at-last > int64(leastStall) {
			r.write(history.Record{Kind: history.Stalled, Handle: history.NewHandle(r.process, r.generation, 0), Call: last, Return: at})
		}
		last = at
	}
}

// entry records one acquisition: of a key, or of several that are held as one.
type entry struct {
	r       *recorder
	use     plan.Use
	keys    []int // the row of the first one is written
	room    int   // for so many holders each key has room
	flags   uint8
	minHold time.Duration
	period  uint32 // of Once
	inside  int    // how many holds there are to be inside of this one
	outer   *entry // that it is inside of

	handle   uint64 // of the first key; the others have the next ones
	asked    int64
	looked   int64        // the last look that said "held"
	shown    int64        // the last one that was recorded
	told     atomic.Int64 // when the hold's context ended
	resigned bool         // that was by a resignation
}

// begin records that the acquisition is about to be made.
func (e *entry) begin() { e.beginAt(now()) }

// beginAt records an acquisition that was asked for at that time.
func (e *entry) beginAt(at int64) {
	e.asked = at
	n := uint64(len(e.keys))
	e.handle = history.NewHandle(e.r.process, e.r.generation, e.r.last.Add(n)-n+1)
	record := history.Record{Kind: history.Asked, Call: at, Flags: e.flags, Use: e.use.Place(), Room: uint16(e.room)}
	switch {
	case e.period > 0:
		record.Return = math.MaxInt64
	case e.minHold > 0:
		record.Return = at + int64(e.minHold)
	}
	e.add(record)
}

// hasRow reports whether its holders read and write its key's row: one, or all who share it.
func (e *entry) hasRow() bool { return e.period == 0 && (e.room == 1 || e.room == history.Everyone) }

// add records the same for all keys, in one piece.
func (e *entry) add(record history.Record) { e.r.write(e.of(record, e.keys)...) }

// addFirst records something of the first key.
func (e *entry) addFirst(record history.Record) { e.r.write(e.of(record, e.keys[:1])...) }

func (e *entry) of(record history.Record, keys []int) (records []history.Record) {
	for i, key := range keys {
		record.Key, record.Period, record.Handle = uint32(key), e.period, e.handle+uint64(i)
		records = append(records, record)
	}
	return records
}

// granted records a grant, from which on the holder believes, unless it looks already and is told that the hold has ended.
func (e *entry) granted(h held) bool {
	at := now()
	if h != nil && h.Err() != nil { // nil: a liar's
		e.refused(history.Gone)
		return false
	}
	e.looked = at
	e.add(history.Record{Kind: history.Granted, Call: e.asked, Return: at})
	return true
}

func (e *entry) refused(outcome history.Outcome) {
	e.add(history.Record{Kind: history.Refused, Outcome: outcome, Call: e.asked, Return: now()})
}

func (e *entry) wrote(looked int64, stale bool, outcome history.Outcome) {
	r := history.Record{Kind: history.Wrote, Outcome: outcome, Call: looked, Return: now()}
	if stale {
		r.Flags = history.Torn
	}
	e.looked = max(e.looked, looked)
	e.addFirst(r)
}

func (e *entry) reread() {
	e.addFirst(history.Record{Kind: history.Reread, Call: e.looked, Return: now()})
}

func (e *entry) letting(at int64) { e.add(history.Record{Kind: history.Letting, Call: at}) }

func (e *entry) let(outcome history.Outcome, cause history.Cause) {
	e.add(history.Record{Kind: history.Let, Outcome: outcome, Cause: cause, Return: now()})
}

func (e *entry) lost(cause history.Cause) {
	e.add(history.Record{Kind: history.Lost, Cause: cause, Call: e.looked, Return: max(e.told.Load(), e.looked)})
}

// look asks the handle whether it still holds, and records a loss. Of the looks that say "held" it records a few. A resignation
// is no loss: whoever holds no longer since then records it.
func (e *entry) look(h held) bool {
	at := now()
	if err := h.Err(); err != nil {
		e.told.CompareAndSwap(0, now())
		if e.resigned = errors.Is(err, manager.ErrResigned); !e.resigned {
			e.lost(causeOf(err))
		}
		return false
	}
	e.looked = at
	if at-e.shown >= recordLooks {
		e.shown = at
		e.add(history.Record{Kind: history.Held, Call: at})
	}
	return true
}

// listen notes when the lock's context ends, even if its holder is busy then. stop ends that.
func (e *entry) listen(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { e.told.CompareAndSwap(0, now()) })
}

// causeOf reads from a lock's error why it was lost: from its sentinel if it has one, else from the library's words.
func causeOf(err error) history.Cause {
	switch {
	case err == nil:
		return history.NoCause
	case errors.Is(err, errStatement):
		return history.ByStatement
	case errors.Is(err, manager.ErrKeeperFailed):
		return history.ByKeeper
	case errors.Is(err, manager.ErrClosed):
		return history.ByClose
	}
	for _, known := range []struct {
		words string
		cause history.Cause
	}{
		{"ended by the server", history.ByServer},
		{"connection broken", history.ByConnection},
		{"no answer in time", history.BySilence},
		{"nothing was heard from the server in time", history.BySilence},
		{"server is in recovery", history.ByRecovery},
		{"backend changed", history.ByBackend},
		{"state of a lock unknown", history.ByDoubt},
	} {
		if strings.Contains(err.Error(), known.words) {
			return known.cause
		}
	}
	return history.ByOther
}
