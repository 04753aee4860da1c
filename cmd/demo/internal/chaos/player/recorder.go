package player

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
)

// recorder writes the history. A record is one write to a pipe, whole or not at all, so that no goroutine waits for
// another, and so that what was written outlives the process.
type recorder struct {
	out        io.Writer
	process    int
	generation int
	last       atomic.Uint64 // the number of the last acquisition
}

func (r *recorder) write(record event.Record) {
	var buffer [event.Size]byte
	if _, err := r.out.Write(record.Append(buffer[:0])); err != nil {
		// Nobody records what is done from here on, so nothing must be done.
		fmt.Fprintln(os.Stderr, "the history cannot be written:", err)
		os.Exit(1)
	}
}

// The least stall that is recorded, and how often is looked for one.
const leastStall, stallEvery = 100 * time.Millisecond, 20 * time.Millisecond

// watchStalls records when this process gets no processor: on a busy machine its locks may be lost for that, and nobody
// else would know why.
func (r *recorder) watchStalls(done <-chan struct{}) {
	ticker := time.NewTicker(stallEvery)
	defer ticker.Stop()
	for last := event.Now(); ; {
		select {
		case <-ticker.C:
		case <-done:
			return
		}
		now := event.Now()
		if now-last > int64(leastStall) {
			r.write(event.Record{Kind: event.Stalled, Handle: event.NewHandle(r.process, r.generation, 0), Call: last, Return: now})
		}
		last = now
	}
}

// begin records that an acquisition is about to be made.
func (r *recorder) begin(key int, flags uint8) entry {
	e := entry{r: r, key: uint32(key), flags: flags, handle: event.NewHandle(r.process, r.generation, r.last.Add(1))}
	e.asked = event.Now()
	e.add(event.Record{Kind: event.Asked, Call: e.asked, Flags: flags})
	return e
}

// entry records one acquisition.
type entry struct {
	r      *recorder
	key    uint32
	flags  uint8
	handle uint64
	asked  int64
	looked int64         // the last call of Err that said that it holds
	shown  int64         // of that, what was recorded
	told   *atomic.Int64 // when the hold's context ended by itself
}

func (e *entry) add(record event.Record) {
	record.Key, record.Handle = e.key, e.handle
	e.r.write(record)
}

func (e *entry) granted(at int64, flags uint8) {
	e.looked = at
	e.add(event.Record{Kind: event.Granted, Call: e.asked, Return: at, Flags: flags})
}

func (e *entry) refused(outcome event.Outcome) {
	e.add(event.Record{Kind: event.Refused, Outcome: outcome, Call: e.asked, Return: event.Now()})
}

// seen notes that the handle said at a time that it holds. Not each look is recorded.
func (e *entry) seen(at int64) {
	e.looked = at
	if at-e.shown >= recordLooks {
		e.shown = at
		e.add(event.Record{Kind: event.Held, Call: at})
	}
}

// lost records a loss: told when the hold's context ended, or now, if it is only by this look that it ends.
func (e *entry) lost(cause event.Cause) {
	e.add(event.Record{Kind: event.Lost, Cause: cause, Call: e.looked, Return: e.toldBy()})
}

func (e *entry) toldBy() int64 {
	now := event.Now()
	if e.told == nil {
		return now
	}
	e.told.CompareAndSwap(0, now)
	return max(e.told.Load(), e.looked)
}

// listen notes when the hold's context ends, however busy its holder is then. stop takes that back.
func (e *entry) listen(ctx context.Context) (stop func() bool) {
	told := &atomic.Int64{}
	e.told = told
	return context.AfterFunc(ctx, func() { told.CompareAndSwap(0, event.Now()) })
}
