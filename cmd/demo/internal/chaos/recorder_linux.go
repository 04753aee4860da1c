package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/manager"
)

// recorder writes the history of a worker process. Each record is one write to a pipe, which is atomic: no goroutine
// waits for another, and what was written outlives the process.
type recorder struct {
	out        io.Writer
	process    int
	generation int
	last       atomic.Uint64 // the number of the last acquisition
}

func (r *recorder) write(record history.Record) {
	if _, err := r.out.Write(record.Append(make([]byte, 0, history.Size))); err != nil {
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

// begin records that an acquisition is about to be made.
func (r *recorder) begin(key int, flags uint8) *entry {
	e := &entry{r: r, key: key, handle: history.NewHandle(r.process, r.generation, r.last.Add(1)), asked: now()}
	e.add(history.Record{Kind: history.Asked, Call: e.asked, Flags: flags})
	return e
}

// entry records one acquisition.
type entry struct {
	r      *recorder
	key    int
	handle uint64
	asked  int64
	looked int64        // the last look that said "held"
	shown  int64        // the last one that was recorded
	told   atomic.Int64 // when the lock's context ended
}

func (e *entry) add(record history.Record) {
	record.Key, record.Handle = uint32(e.key), e.handle
	e.r.write(record)
}

func (e *entry) granted(at int64) {
	e.looked = at
	e.add(history.Record{Kind: history.Granted, Call: e.asked, Return: at})
}

func (e *entry) refused(outcome history.Outcome) {
	e.add(history.Record{Kind: history.Refused, Outcome: outcome, Call: e.asked, Return: now()})
}

func (e *entry) wrote(looked int64, stale bool, outcome history.Outcome) {
	r := history.Record{Kind: history.Wrote, Outcome: outcome, Call: looked, Return: now()}
	if stale {
		r.Flags = history.Torn
	}
	e.looked = looked
	e.add(r)
}

func (e *entry) letting() { e.add(history.Record{Kind: history.Letting, Call: now()}) }

func (e *entry) let(outcome history.Outcome, cause history.Cause) {
	e.add(history.Record{Kind: history.Let, Outcome: outcome, Cause: cause, Return: now()})
}

// look asks the handle whether it still holds, and records a loss. Of the looks that say "held" it records a few.
func (e *entry) look(lock *manager.Lock) bool {
	at := now()
	if err := lock.Err(); err != nil {
		e.told.CompareAndSwap(0, now())
		e.add(history.Record{Kind: history.Lost, Cause: causeOf(err), Call: e.looked, Return: max(e.told.Load(), e.looked)})
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
