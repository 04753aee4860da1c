package manager

import (
	"log/slog"
	"sync/atomic"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// journal writes log records on a goroutine of its own: owners never wait for a log handler.
type journal struct {
	records chan func(*slog.Logger) // closed by stop, once nobody sends any more
	done    chan struct{}           // closed by the goroutine
	dropped atomic.Uint64
}

// journalSize holds a burst: each session and each failed keeper sends a few.
const journalSize = 256

func (j *journal) start(l *slog.Logger) {
	if l == nil {
		return
	}
	j.records, j.done = make(chan func(*slog.Logger), journalSize), make(chan struct{})
	go func() {
		defer close(j.done)
		for record := range j.records {
			j.guard(l, record)
		}
	}()
}

// guard keeps a handler that panics from ending the process: a lost log record is the smaller harm.
func (j *journal) guard(l *slog.Logger, record func(*slog.Logger)) {
	defer func() {
		if recover() != nil {
			j.dropped.Add(1)
		}
	}()
	record(l)
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

// stop must not be called before all who write have ended.
func (j *journal) stop() {
	if j.records != nil {
		close(j.records)
		<-j.done
	}
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
