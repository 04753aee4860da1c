//go:build unix

package load

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

// scripts starts a fleet whose worker processes are shell scripts.
func scripts(t *testing.T, texts ...string) (*fleet, error) {
	t.Helper()
	jobs := make([]worker.Job, len(texts))
	for i := range jobs {
		jobs[i].Process = i + 1
	}
	next := 0
	f, err := startFleet(t.Context(), jobs, func() *exec.Cmd {
		next++
		return exec.Command("/bin/sh", "-c", texts[next-1])
	})
	if err == nil {
		t.Cleanup(func() { f.exit(exitBound) })
	}
	return f, err
}

func mustStart(t *testing.T, texts ...string) *fleet {
	t.Helper()
	f, err := scripts(t, texts...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// answers is a script that answers each call, after what it does first at some.
func answers(first string) string {
	return `n=0; while read call; do case $call in ` + first + ` esac; case $call in
		*Child.Progress*) result='{"Acquired":5,"Waiting":3,"Held":1,"Sessions":4}';;
		*Child.Stop*) result='{"Acquired":9}';;
		*) result='{}';; esac; echo "{\"id\":$n,\"result\":$result,\"error\":null}"; n=$((n+1)); done`
}

var obedient = answers("")

func noShow(progress) error { return nil }

func TestFleetFromStartToExit(t *testing.T) {
	f := mustStart(t, obedient, obedient)
	errSeen := errors.New("seen")
	_, err := f.run(t.Context(), time.Hour, time.Millisecond, func(p progress) error {
		if p.Acquired == 10 && p.Waiting == 6 && p.Held == 2 && p.Sessions == 8 {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		t.Fatal(err)
	}
	results, err := f.stop()
	if err != nil || len(results) != 2 || results[0].Acquired != 9 || results[1].Acquired != 9 {
		t.Fatalf("%+v, %v", results, err)
	}
	if f.sessions != 8 {
		t.Errorf("the peak is %d sessions, want 8", f.sessions)
	}
	f.exit(exitBound)
	for i, p := range f.processes {
		if p.Cmd.ProcessState == nil {
			t.Errorf("process %d still runs", i+1)
		}
	}
}

func TestAProcessThatFailsToOpenSaysWhy(t *testing.T) {
	_, err := scripts(t, obedient, `read call; echo '{"id":0,"result":null,"error":"no such server"}'; read call`)
	if err == nil || !strings.Contains(err.Error(), "worker process 2: no such server") {
		t.Errorf("the error is %v", err)
	}
}

func TestAProcessThatDiesAtWork(t *testing.T) {
	f := mustStart(t, obedient, answers(`*Child.Start*) echo 'panic: at the disco' >&2; exit 3;;`))
	_, err := f.run(t.Context(), time.Hour, time.Hour, noShow)
	if err == nil || !strings.Contains(err.Error(), "worker process 2 ended early: exit status 3") || !strings.Contains(err.Error(), "panic: at the disco") {
		t.Errorf("the error is %v", err)
	}
	// The other one is brought to its end, and its result is there.
	results, err := f.stop()
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || results[0] == nil || results[1] != nil {
		t.Errorf("results %+v, %v", results, err)
	}
}

// A process that goes between two calls is missed at the next.
func TestAProcessThatDiesLater(t *testing.T) {
	f := mustStart(t, obedient, answers(`*Child.Progress*) kill -9 $$;;`))
	_, err := f.run(t.Context(), time.Hour, time.Millisecond, noShow)
	if err == nil || !strings.Contains(err.Error(), "worker process 2 ended early: signal: killed") {
		t.Errorf("the error is %v", err)
	}
}

func TestAProcessThatTalksNonsense(t *testing.T) {
	if _, err := scripts(t, `read call; echo nonsense; exit 0`); err == nil {
		t.Error("a process that said nothing of use counts as ready")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	f := mustStart(t, obedient)
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := f.run(ctx, time.Hour, time.Hour, noShow); !errors.Is(err, why) {
		t.Errorf("the error is %v, want the context's cause", err)
	}
}

// A process that answers no more does not keep the load from its end.
func TestRunEndsWithItsTime(t *testing.T) {
	f := mustStart(t, answers(`*Child.Progress*) continue;;`))
	if took, err := f.run(t.Context(), 20*time.Millisecond, time.Millisecond, noShow); err != nil || took < 20*time.Millisecond {
		t.Errorf("ended after %v, %v", took, err)
	}
}

func TestAProcessThatDoesNotGoIsKilled(t *testing.T) {
	f := mustStart(t, `read call; echo '{"id":0,"result":{},"error":null}'; while true; do sleep 0.1; done`)
	f.exit(time.Millisecond)
	if f.processes[0].Cmd.ProcessState == nil {
		t.Error("it still runs")
	}
}
