package manager

import (
	"log/slog"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// journal writes log records.
type journal struct {
	aside
	logger *slog.Logger
}

// journalRoom is a burst of what sessions and failed keepers write.
const journalRoom = 256

func (j *journal) start(l *slog.Logger) {
	if j.logger = l; l != nil {
		j.aside.start(journalRoom)
	}
}

func (j *journal) write(record func(*slog.Logger)) { j.do(func() { record(j.logger) }) }

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
