package manager_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// records is a log's, by their message; each is the attributes of one.
func records(t *testing.T, log string) map[string][]map[string]any {
	t.Helper()
	out := make(map[string][]map[string]any)
	for line := range strings.Lines(log) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		message, _ := record["msg"].(string)
		out[message] = append(out[message], record)
	}
	return out
}

// The log has what is worth a human's eye, and not what is daily business.
func TestLogHasTransitions(t *testing.T) {
	s := server(t)
	var log safeBuffer
	var n network
	panics := make(chan string, 1)
	m := n.manager(t, s, manager.WithLogger(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		manager.WithRetry(attempts(1)), manager.WithHook(func(_ int64, step string) {
			select {
			case want := <-panics:
				if want == step {
					panic("injected")
				}
				panics <- want
			default:
			}
		}))
	lock := acquire(t, m, "k")
	for range 50 { // daily business
		release(t, acquire(t, m, "daily"))
		_, err := m.TryAcquire(bounded(t), "k")
		wantIs(t, err, manager.ErrNotAcquired)
	}
	pid := held(t, s)[lock.ID()]
	terminate(t, s, pid)
	wantLost(t, lock)
	n.failWith(refused)
	_, err := m.Acquire(bounded(t), "k")
	wantIs(t, err, manager.ErrAttempts)
	n.failWith(nil)
	panics <- "try"
	_, err = m.Acquire(bounded(t), "k")
	wantIs(t, err, manager.ErrKeeperFailed)
	closeNow(t, m)

	got := records(t, log.String())
	for _, c := range []struct {
		message, level string
		attrs          map[string]any
	}{
		{"lockkeeper: session opened", "DEBUG", map[string]any{"use": "shared", "pid": float64(pid)}},
		{"lockkeeper: session lost", "ERROR", map[string]any{"use": "shared", "pid": float64(pid), "locks": float64(1), "cause": "ended by the server"}},
		{"lockkeeper: session could not be opened", "WARN", nil},
		{"lockkeeper: keeper restarted after a panic", "ERROR", map[string]any{"panic": "injected", "id": float64(lock.ID())}},
	} {
		if len(got[c.message]) == 0 {
			t.Errorf("no record %q in %s", c.message, log.String())
			continue
		}
		record := got[c.message][0]
		if record["level"] != c.level {
			t.Errorf("%q has level %v", c.message, record["level"])
		}
		for name, want := range c.attrs {
			if record[name] != want {
				t.Errorf("%q: %s is %v, want %v", c.message, name, record[name], want)
			}
		}
	}
	if total := strings.Count(log.String(), "\n"); total > 30 {
		t.Errorf("%d records, of which most are daily business: %s", total, log.String())
	}
	if got := m.Stats(); got.LogDropped != 0 || got.Restarts != 1 {
		t.Errorf("%+v", got)
	}
}

// stuckHandler is a log handler that takes its time.
type stuckHandler struct{ pass chan struct{} }

func (h stuckHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h stuckHandler) Handle(context.Context, slog.Record) error {
	<-h.pass
	return nil
}
func (h stuckHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h stuckHandler) WithGroup(string) slog.Handler      { return h }

// A handler that blocks delays nothing; what does not fit is counted.
func TestSlowLogDelaysNothing(t *testing.T) {
	s := server(t)
	h := stuckHandler{make(chan struct{})}
	var n network
	m := n.manager(t, s, manager.WithLogger(slog.New(h)), manager.WithRetry(attempts(1)))
	release(t, acquire(t, m, "k"))
	terminateAll(t, s, m)
	n.failWith(refused)
	for range 300 { // more records than are kept
		_, err := m.TryAcquire(bounded(t), "k")
		wantIs(t, err, manager.ErrAttempts)
	}
	n.failWith(nil)
	lock := acquire(t, m, "k")
	terminate(t, s, held(t, s)[lock.ID()])
	wantLost(t, lock)
	release(t, acquire(t, m, "k"))
	if got := m.Stats().LogDropped; got == 0 {
		t.Error("more records than fit, and none is counted as dropped")
	}
	close(h.pass) // Close waits for what is kept
}

// A handler that panics is a lost record, not a lost process.
func TestPanickingLogHandler(t *testing.T) {
	h := panickingHandler{stuckHandler{}}
	m := open(t, manager.WithLogger(slog.New(h)))
	terminateAll(t, server(t), m)
	release(t, acquire(t, m, "k"))
	closeNow(t, m)
	if got := m.Stats().LogDropped; got == 0 {
		t.Error("no record is counted as dropped")
	}
}

type panickingHandler struct{ stuckHandler }

func (panickingHandler) Handle(context.Context, slog.Record) error { panic("the handler's own bug") }
