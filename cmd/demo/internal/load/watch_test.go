package load

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
	"github.com/lockkeeper/lockkeeper/manager"
)

// watcher keeps what it is told.
type watcher struct {
	events []string
	values []any
}

func (w *watcher) Publish(event string, value any) {
	w.events = append(w.events, event)
	w.values = append(w.values, value)
}

func TestWatchersAreToldOfSamplesAndFaults(t *testing.T) {
	told := &watcher{}
	w := &watching{Watcher: told}
	first := progress{
		Tally: worker.Tally{
			Counts: worker.Counts{Acquired: 12, Cancelled: 2, Failed: 1}, Waiting: 7, Held: 5, Sessions: 6,
			Pool: manager.SessionStats{Shared: 1, Waiting: 2, Dedicated: 3, Idle: 0, Opening: 4}, Reasons: []worker.Reason{{Kind: "timed out", Count: 1}},
		},
		elapsed: 1500 * time.Millisecond, perSecond: 8.25, p50: time.Millisecond, p90: 2500 * time.Microsecond, p99: 3 * time.Second,
	}
	w.progress(first)
	second := first
	second.elapsed = 2 * time.Second
	second.Lost, second.Met, second.Failed = 3, 1, 5
	second.Losses = map[string]uint64{"ended by the server": 3, "closed": 9}
	second.Reasons = []worker.Reason{{Kind: "timed out", Count: 4}, {Kind: "gone", Count: 1}}
	w.progress(second)
	w.progress(second)
	if got, want := strings.Join(told.events, " "), "sample fault sample fault fault fault fault fault sample"; got != want {
		t.Fatalf("told %s, want %s", got, want)
	}
	want := Sample{At: 1.5, PerSecond: 8.3, Acquired: 12, Cancelled: 2, Failed: 1, Waiting: 7, Holding: 5, Wait: SampleWait{P50: 1, P90: 2.5, P99: 3000},
		Sessions: SampleSessions{Total: 6, Shared: 1, Waiting: 2, Dedicated: 3, Opening: 4}}
	if told.values[0] != want {
		t.Errorf("the sample is %+v, want %+v", told.values[0], want)
	}
	faults := []any{
		Fault{At: 2, Kind: "violation", Count: 1, Text: "1 violation: two holders of one key at one time, and no lock was lost"},
		Fault{At: 2, Kind: "loss", Count: 3, Text: "3 locks lost while held"},
		Fault{At: 2, Kind: "loss", Count: 3, Text: "the lock manager lost 3 locks: ended by the server"},
		Fault{At: 2, Kind: "failure", Count: 3, Text: "3 acquisitions failed: timed out"},
		Fault{At: 2, Kind: "failure", Count: 1, Text: "1 acquisition failed: gone"},
	}
	if got := told.values[3:8]; !reflect.DeepEqual(got, faults) {
		t.Errorf("the faults are %+v", got)
	}

	// What came after the last sample, and what kept the run from its end.
	end := second.Tally
	end.Lost++
	w.ended(&Report{Seconds: 3, Total: end, Problems: []string{"it broke"}})
	late := []any{Fault{At: 3, Kind: "loss", Count: 1, Text: "1 lock lost while held"}, Fault{At: 3, Kind: "problem", Count: 1, Text: "it broke"}}
	if got := told.values[9:]; !reflect.DeepEqual(got, late) {
		t.Errorf("at the end it was told %+v, want %+v", got, late)
	}
}

func TestNobodyWatches(t *testing.T) {
	var w *watching
	w.progress(progress{})
	w.tell(EventPhase, running)
	w.ended(&Report{})
	if err := w.open("/nonexistent", 1); err != nil {
		t.Error(err)
	}
	w.close()
}

// leaves are the paths of all values in an object of JSON.
func leaves(prefix string, value any, found map[string]bool) {
	if object, ok := value.(map[string]any); ok {
		for name, v := range object {
			leaves(strings.TrimPrefix(prefix+"."+name, "."), v, found)
		}
		return
	}
	found[prefix] = true
}

// Whatever --json prints, the page shows too.
func TestFiguresAreAllOfTheReport(t *testing.T) {
	for _, r := range []*Report{{}, {Readers: &Readers{}, Writers: &Side{}}} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var object any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		want, got := map[string]bool{}, map[string]bool{}
		leaves("", object, want)
		for _, f := range figuresOf(r) {
			if got[f.Name] || f.Label == "" {
				t.Errorf("%+v is there twice, or has no label", f)
			}
			got[f.Name] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("the figures are %v,\nthe report has %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

func TestOutcomes(t *testing.T) {
	good := &Report{Acquired: 10, PerProcess: []uint64{10}, Verdict: oracle.Verdict{Complete: true, Keys: 1}}
	interrupted, leaked, bad, broken := *good, *good, *good, *good
	interrupted.Interrupted = true
	leaked.Leaked = server.Leaked{Connections: 1}
	bad.setVerdict(oracle.Verdict{Complete: true, Violations: 2, BadKeys: 1, Keys: 4})
	broken.Problems = []string{"a process died"}
	for _, tt := range []struct {
		report  *Report
		err     error
		ok      bool
		heading string
	}{
		{good, nil, true, "EXCLUSION PROVEN"},
		{&interrupted, nil, true, "EXCLUSION PROVEN"},
		{good, errors.New("no table"), false, "EXCLUSION PROVEN"},
		{&leaked, nil, false, "EXCLUSION PROVEN"},
		{&bad, nil, false, "EXCLUSION VIOLATED"},
		{&broken, nil, false, "EXCLUSION PROVEN"},
		{&Report{}, nil, false, "EXCLUSION NOT SHOWN"},
		{nil, errors.New("no server"), false, "THE LOAD DID NOT BEGIN"},
	} {
		o := OutcomeOf(tt.report, tt.err)
		if o.OK != tt.ok || o.Heading != tt.heading || o.Interrupted != (tt.report == &interrupted) {
			t.Errorf("%+v", o)
		}
		if tt.err != nil && !strings.Contains(strings.Join(append(o.Problems, o.Detail), " "), tt.err.Error()) {
			t.Errorf("no word of %v in %+v", tt.err, o)
		}
	}
	if len(broken.Problems) != 1 {
		t.Error("the report's problems were changed")
	}
}
