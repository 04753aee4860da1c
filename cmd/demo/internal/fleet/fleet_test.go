//go:build unix

package fleet

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

// scripts starts a fleet whose worker processes are shell scripts. The first line that each reads is its job.
func scripts(t *testing.T, texts ...string) *Fleet {
	t.Helper()
	jobs := make([]wire.Job, len(texts))
	for i := range jobs {
		jobs[i].Process = i + 1
	}
	next := 0
	f, err := Start(jobs, func() *exec.Cmd {
		next++
		return exec.Command("/bin/sh", "-c", texts[next-1])
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Exit)
	return f
}

const (
	ready    = `read job; echo '{"kind":"ready"}'; `
	progress = `echo '{"kind":"progress","progress":{"acquired":5,"waiting":3,"held":1,"sessions":4}}'; `
	closed   = `echo '{"kind":"closed","result":{"acquired":9}}'; `
	obedient = ready + `read start; ` + progress + `read stop; ` + closed + `read exit`
)

func TestFleetFromStartToExit(t *testing.T) {
	f := scripts(t, obedient, obedient)
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	errSeen := errors.New("seen")
	_, err := f.Run(t.Context(), time.Hour, time.Millisecond, func(s Snapshot) error {
		if s.Acquired == 10 && s.Waiting == 6 && s.Held == 2 && s.Sessions == 8 {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		t.Fatal(err)
	}
	results, err := f.Stop()
	if err != nil || len(results) != 2 || results[0].Acquired != 9 || results[1].Acquired != 9 {
		t.Fatalf("%+v, %v", results, err)
	}
	if f.PeakSessions() != 8 {
		t.Errorf("the peak is %d sessions, want 8", f.PeakSessions())
	}
	f.Exit()
	for _, p := range f.processes {
		if p.cmd.ProcessState == nil {
			t.Errorf("process %d still runs", p.number)
		}
	}
}

func TestAProcessThatFailsToOpenSaysWhy(t *testing.T) {
	f := scripts(t, obedient, `read job; echo '{"kind":"failed","error":"no such server"}'`)
	err := f.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "worker process 2: no such server") {
		t.Errorf("the error is %v", err)
	}
}

func TestAProcessThatDiesAtWork(t *testing.T) {
	f := scripts(t, obedient, ready+`read start; echo 'panic: at the disco' >&2; exit 3`)
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := f.Run(t.Context(), time.Hour, time.Hour, func(Snapshot) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "worker process 2 ended early: exit status 3") || !strings.Contains(err.Error(), "panic: at the disco") {
		t.Errorf("the error is %v", err)
	}
	// The other one is brought to its end, and its result is there.
	results, err := f.Stop()
	if err == nil || results[0] == nil || results[1] != nil {
		t.Errorf("results %+v, %v", results, err)
	}
}

func TestAProcessThatTalksNonsense(t *testing.T) {
	f := scripts(t, `read job; echo nonsense; exit 0`)
	if err := f.Ready(t.Context()); err == nil {
		t.Error("a process that said nothing of use counts as ready")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	f := scripts(t, obedient)
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := f.Run(ctx, time.Hour, time.Hour, func(Snapshot) error { return nil }); !errors.Is(err, why) {
		t.Errorf("the error is %v, want the context's cause", err)
	}
}

func TestAProcessThatDoesNotGoIsKilled(t *testing.T) {
	f := scripts(t, ready+`while true; do sleep 0.1; done`)
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.exit(time.Millisecond)
	if f.processes[0].cmd.ProcessState == nil {
		t.Error("it still runs")
	}
}

func TestTailKeepsTheBeginningAndTheEnd(t *testing.T) {
	var kept tail
	_, _ = kept.Write([]byte("first words\n"))
	for range 1000 {
		_, _ = kept.Write([]byte(strings.Repeat("x", 100)))
	}
	_, _ = kept.Write([]byte("\nlast words"))
	text := kept.String()
	if !strings.HasPrefix(text, "first words") || !strings.HasSuffix(text, "last words") || len(text) > 3*tailSize {
		t.Errorf("kept %d bytes: %.20q ... %q", len(text), text, text[len(text)-20:])
	}
}
