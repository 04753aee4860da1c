package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary is the program, so that measurements are real processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		if err := Child(context.Background(), catalogue(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// A child process that was built with the race detector waits a second at its end unless it is told not to.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// serverAddress is where nobody listens: no system here connects.
const serverAddress = "127.0.0.1:1"

var errNoServer = errors.New("nobody has installed it")

// closed counts the servers that were closed.
var closed atomic.Int32

// on returns systems that run on a server of that name.
func on(name string, systems ...string) (all []System) {
	server := &Server{Name: name, Start: func(context.Context) (*Instance, error) {
		if name == "absent" {
			return nil, errNoServer
		}
		return &Instance{Version: name + " 1", Address: serverAddress, TCP: serverAddress, PID: os.Getpid(),
			Env:   func(through string) Env { return Env{RedisAddr: through} },
			Close: func() error { closed.Add(1); return nil }}, nil
	}}
	for _, system := range systems {
		all = append(all, System{Name: system, Server: server})
	}
	return all
}

func catalogue() Catalogue {
	run := func(name string, f func(context.Context, Setup) (Result, error)) Scenario {
		return Scenario{Name: name, Run: f}
	}
	rtt := run("rtt", func(_ context.Context, s Setup) (Result, error) {
		if s.Env.RedisAddr == "" || s.ServerAddress != s.Env.RedisAddr {
			return Result{}, fmt.Errorf("the system got %s, connections are counted to %s", s.Env.RedisAddr, s.ServerAddress)
		}
		return Result{PairsPerSecond: 1}, nil
	})
	rtt.RTT = time.Millisecond
	parts := run("parts", func(ctx context.Context, s Setup) (Result, error) {
		cmd := s.Spawn(ctx, "three")
		cmd.Stdin = strings.NewReader("said by the scenario")
		out, err := cmd.Output()
		return Result{PairsPerSecond: float64(len(out))}, err
	})
	parts.Part = func(_ context.Context, s Setup, part string, in io.Reader, out io.Writer) error {
		text, err := io.ReadAll(in)
		_, _ = fmt.Fprintf(out, "%s %s %s", part, text, s.System.Name)
		return err
	}
	once := run("once", func(context.Context, Setup) (Result, error) {
		return Result{Connections: os.Getpid()}, nil
	})
	once.Long, once.Systems = true, []string{"b"}
	return Catalogue{
		Systems: slices.Concat(on("here", "a", "b"), on("absent", "c")),
		Scenarios: []Scenario{
			run("fine", func(_ context.Context, s Setup) (Result, error) {
				return Result{PairsPerSecond: s.Duration.Seconds(), P50: s.Warmup.Seconds()}, nil
			}),
			run("fails", func(context.Context, Setup) (Result, error) {
				return Result{}, errors.New("it\nfails")
			}),
			run("not", func(context.Context, Setup) (Result, error) {
				return Result{}, fmt.Errorf("%w: so it is", ErrNotApplicable)
			}),
			run("panics", func(context.Context, Setup) (Result, error) { panic("it panics") }),
			run("hangs", func(context.Context, Setup) (Result, error) { select {} }),
			rtt, parts, once, program(),
		},
	}
}

// otherProgram is the name of a copy of this test binary.
const otherProgram = "other"

// program is a scenario that counts its processes that run the copy: 10 for the first, 1 for the one that it has started.
func program() Scenario {
	ran := func() (string, error) {
		self, err := os.Executable()
		return filepath.Base(self), err
	}
	return Scenario{Name: "program", Systems: []string{"a"},
		Run: func(ctx context.Context, s Setup) (result Result, err error) {
			own, err := ran()
			if err != nil {
				return result, err
			}
			of, err := s.Spawn(ctx, "which").Output()
			if own == otherProgram {
				result.PairsPerSecond += 10
			}
			if string(of) == otherProgram+" a" {
				result.PairsPerSecond++
			}
			return result, err
		},
		Part: func(_ context.Context, s Setup, _ string, _ io.Reader, out io.Writer) error {
			own, err := ran()
			_, _ = io.WriteString(out, own+" "+s.System.Name)
			return err
		}}
}

// quiet hears progress, and may do something then.
type quiet struct {
	end func(Measurement)
	say func(string)
}

func (quiet) Begin(int, int, Measurement) {}
func (q quiet) Say(text string) {
	if q.say != nil {
		q.say(text)
	}
}
func (q quiet) End(_, _ int, m Measurement) {
	if q.end != nil {
		q.end(m)
	}
}

func measureAll(t *testing.T, p Plan) Outcome {
	t.Helper()
	p.Duration, p.Warmup = 3*time.Second, 2*time.Second // nobody waits for them here
	if p.Slack == 0 {
		p.Slack = time.Minute
	}
	before := closed.Load()
	outcome, err := Run(t.Context(), catalogue(), p, quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if closed.Load() != before+1 {
		t.Errorf("%d servers were closed, want 1", closed.Load()-before)
	}
	return outcome
}

func TestEachMeasurementIsAProcessOfItsOwnWithTheWholeJob(t *testing.T) {
	o := measureAll(t, Plan{Scenarios: []string{"fine", "once"}, Systems: []string{"b"}, Rounds: 1})
	if len(o.Measurements) != 2 {
		t.Fatalf("%d measurements, want 2: %+v", len(o.Measurements), o.Measurements)
	}
	for _, m := range o.Measurements {
		switch m.Scenario {
		case "fine":
			if m.Result.PairsPerSecond != 3 || m.Result.P50 != 2 || m.Result.RSSBytes < 1<<20 {
				t.Errorf("got %+v", m.Result)
			}
		case "once":
			if m.Result.Connections == os.Getpid() || m.Result.Connections == 0 {
				t.Errorf("it was measured in process %d, which is the harness's", m.Result.Connections)
			}
		}
	}
	if want := []string{"here 1"}; !slices.Equal(o.Versions, want) {
		t.Errorf("versions %q, want %q", o.Versions, want)
	}
}

func TestWhatFailsIsReportedWithTheReasonAndDoesNotRunAgain(t *testing.T) {
	o := measureAll(t, Plan{Scenarios: []string{"fails", "not", "panics", "fine"}, Systems: []string{"a", "c"}, Rounds: 2})
	got := map[string]string{}
	for _, m := range o.Measurements {
		name := m.Scenario + " " + m.System
		if _, again := got[name]; again && m.Result.PairsPerSecond == 0 {
			t.Errorf("%s ran again after a failure", name)
		}
		got[name] = m.Result.Failed + m.Result.NotApplicable
	}
	for name, want := range map[string]string{"fails a": "it fails", "not a": "not applicable: so it is", "fine a": "",
		"fine c": errNoServer.Error()} {
		if text, there := got[name]; text != want || !there {
			t.Errorf("%s: %q, want %q", name, text, want)
		}
	}
	if text := got["panics a"]; !strings.Contains(text, "it panics") {
		t.Errorf("panics: %q", text)
	}
}

func TestWhatHangsIsKilled(t *testing.T) {
	p := Plan{Scenarios: []string{"hangs"}, Systems: []string{"a"}, Rounds: 1, Slack: -4900 * time.Millisecond}
	o := measureAll(t, p)
	if text := o.Measurements[0].Result.Failed; !strings.Contains(text, "did not end within") {
		t.Errorf("got %q", text)
	}
}

func TestLatencyLeadsThroughAProxyAndPartsGetTheirJob(t *testing.T) {
	o := measureAll(t, Plan{Scenarios: []string{"rtt", "parts"}, Systems: []string{"a"}, Rounds: 1})
	if r := o.Measurements[0].Result; r.PairsPerSecond != 1 {
		t.Errorf("got %+v", r)
	}
	if r, want := o.Measurements[1].Result, len("three said by the scenario a"); r.PairsPerSecond != float64(want) {
		t.Errorf("got %+v, want %d letters", r, want)
	}
}

func TestAnInterruptEndsTheRunAndClosesServers(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	wanted := errors.New("enough")
	before := closed.Load()
	_, err := Run(ctx, catalogue(), Plan{Scenarios: []string{"fine", "hangs"}, Systems: []string{"a"}, Rounds: 1, Slack: time.Minute},
		quiet{end: func(Measurement) { cancel(wanted) }})
	if !errors.Is(err, wanted) || closed.Load() != before+1 {
		t.Errorf("got %v, %d servers closed", err, closed.Load()-before)
	}
}

func TestTurns(t *testing.T) {
	names := func(p Plan) (all []string) {
		for _, m := range p.Turns(catalogue()) {
			all = append(all, fmt.Sprintf("%s/%s/%d", m.Scenario, m.System, m.Round))
		}
		return all
	}
	p := Plan{Scenarios: []string{"once", "fine"}, Systems: []string{"a", "b"}, Rounds: longRounds + 1}
	want := []string{"fine/a/1", "fine/b/1", "once/b/1", "fine/a/2", "fine/b/2", "once/b/2", "fine/a/3", "fine/b/3", "once/b/3",
		"fine/a/4", "fine/b/4"}
	if got := names(p); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// A quick run leaves out what is long, and systems that are none of the main ones, unless they are named.
	p.Quick, p.Rounds = true, 1
	if got := names(p); len(got) != 0 {
		t.Errorf("quick: %v", got)
	}
	p.Everywhere = true
	if got, want := names(p), []string{"fine/a/1", "fine/b/1"}; !slices.Equal(got, want) {
		t.Errorf("quick, systems named: %v, want %v", got, want)
	}
	p.Named = true
	if got, want := names(p), []string{"fine/a/1", "fine/b/1", "once/b/1"}; !slices.Equal(got, want) {
		t.Errorf("quick, all named: %v, want %v", got, want)
	}
}

func TestAQuickRunHasTheMainSystemsFirst(t *testing.T) {
	c := catalogue()
	c.Systems = on("here", "other", "pgx")
	c.Scenarios = []Scenario{{Name: quickScenarios[0]}, {Name: "z"}}
	var got []string
	for _, m := range (Plan{Scenarios: c.ScenarioNames(), Systems: c.SystemNames(), Rounds: 1, Quick: true}).Turns(c) {
		got = append(got, m.Scenario+"/"+m.System)
	}
	if want := []string{"distinct-100/pgx", "z/pgx", "distinct-100/other"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAQuickRunKeepsItsTime(t *testing.T) {
	p := Plan{Scenarios: []string{"fine"}, Systems: []string{"a"}, Rounds: 3, Quick: true, Everywhere: true, Limit: time.Hour,
		Budget: -1}
	if o := measureAll(t, p); len(o.Measurements) != 1 || o.Cut != 2 {
		t.Errorf("after the budget: %d measured, %d cut; want 1 and 2", len(o.Measurements), o.Cut)
	}
	p.Limit = -1
	if o := measureAll(t, p); len(o.Measurements) != 0 || o.Cut != 3 {
		t.Errorf("after the limit: %d measured, %d cut; want 0 and 3", len(o.Measurements), o.Cut)
	}
}
