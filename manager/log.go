package manager

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// journal writes log records, on a goroutine of its own: owners never wait for a log handler.
type journal struct {
	// Sent by owners, and by attempts to connect that were given up; received by run; never closed; capacity journalSize: a burst
	// of what sessions and failed keepers send. What does not fit is dropped.
	records chan func(*slog.Logger)
	// Closed by stop; received by run, which writes what is there and ends; nothing is sent.
	quit chan struct{}
	// Closed by run at its end; received by stop; nothing is sent.
	done    chan struct{}
	dropped atomic.Uint64 // written by owners and run
}

const (
	journalSize = 256
	// journalPatience is how long stop waits for a handler that blocks.
	journalPatience = time.Second
)

// start starts the goroutine. Joined by stop, through done, unless the user's handler blocks.
func (j *journal) start(l *slog.Logger) {
	if l == nil {
		return
	}
	j.records, j.quit, j.done = make(chan func(*slog.Logger), journalSize), make(chan struct{}), make(chan struct{})
	go j.run(l)
}

// run writes until stop is called. A handler that panics, or ends the goroutine by runtime.Goexit, costs its record.
func (j *journal) run(l *slog.Logger) {
	over := false
	defer func() {
		if over {
			close(j.done)
			return
		}
		_ = recover() // the handler's
		j.dropped.Add(1)
		// Joined by stop, as before.
		go j.run(l)
	}()
	for !over {
		select {
		case record := <-j.records:
			record(l)
		case <-j.quit:
			over = !j.writeOne(l)
		}
	}
}

// writeOne writes one record, if there is one.
func (j *journal) writeOne(l *slog.Logger) bool {
	select {
	case record := <-j.records:
		record(l)
		return true
	default:
		return false
	}
}

func (j *journal) write(record func(*slog.Logger)) {
	if j.records == nil {
		return
	}
	select {
	case j.records <- record:
	default:
		j.dropped.Add(1)
	}
}

// stop ends the goroutine, once what was sent is written. A handler that blocks is left to its own.
func (j *journal) stop() {
	if j.records == nil {
		return
	}
	close(j.quit)
	patience := time.NewTimer(journalPatience)
	defer patience.Stop()
	select {
	case <-j.done:
	case <-patience.C:
	}
}

func (j *journal) campaign(key string, err error) {
	j.write(func(l *slog.Logger) { l.Warn("lockkeeper: a campaign failed, and goes on", "key", key, "error", err) })
}

func (j *journal) watch(err error) {
	j.write(func(l *slog.Logger) {
		l.Warn("lockkeeper: looking for deadlocks over processes failed, and is tried again", "error", err)
	})
}

func (j *journal) observer(key string, value any) {
	j.write(func(l *slog.Logger) {
		l.Error("lockkeeper: the function of WithTransitions failed", "key", key, "panic", value)
	})
}

func (j *journal) session(e pg.Event) {
	j.write(func(l *slog.Logger) {
		switch e.Kind {
		case pg.EventOpened:
			l.Debug("lockkeeper: session opened", "pid", e.PID, "use", e.Use.String(), "timeline", e.Timeline)
		case pg.EventLost:
			l.Error("lockkeeper: session lost", "pid", e.PID, "use", e.Use.String(), "locks", e.Locks, "cause", e.Cause,
				"error", e.Err)
		case pg.EventFailed:
			l.Warn("lockkeeper: session could not be opened", "use", e.Use.String(), "error", e.Err)
		case pg.EventRefused:
			l.Info("lockkeeper: the server does not take a session setting", "setting", e.Cause)
		}
	})
}

func (j *journal) keeper(f actor.KeeperFailure) {
	j.write(func(l *slog.Logger) {
		attrs := []any{"id", f.ID, "panic", f.Value, "stack", string(f.Stack)}
		if !f.Until.IsZero() {
			attrs = append(attrs, "refused_until", f.Until)
		}
		l.Error("lockkeeper: keeper restarted after a panic", attrs...)
	})
}
