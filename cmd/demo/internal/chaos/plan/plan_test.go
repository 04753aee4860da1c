package plan

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func somePlan(seed uint64) *Plan {
	faults, err := ParseFaults("all")
	if err != nil {
		panic(err)
	}
	return &Plan{Duration: 10 * time.Minute, Seed: seed, Processes: 4, Workers: 8, Keys: 12, Faults: faults,
		Calm: 500 * time.Millisecond, Interval: 500 * time.Millisecond, Timeout: 500 * time.Millisecond, Hold: time.Millisecond}
}

func TestTheScheduleIsAFunctionOfThePlan(t *testing.T) {
	one := Schedule(somePlan(1))
	if !reflect.DeepEqual(one, Schedule(somePlan(1))) {
		t.Error("the same plan gave two schedules")
	}
	if reflect.DeepEqual(one, Schedule(somePlan(2))) {
		t.Error("two seeds gave one schedule")
	}
	// A shorter run is the beginning of a longer one.
	shorter := somePlan(1)
	shorter.Duration = time.Minute
	if short := Schedule(shorter); len(short) == 0 || !reflect.DeepEqual(short, one[:len(short)]) {
		t.Error("a shorter run has other faults")
	}
	// What is published with a seed must be what the seed gives later on: the first steps of seed 1, written down.
	want := []Kind{FastRestart, FreezeForwarder, Promote}
	var got []Kind
	for _, step := range one[:3] {
		got = append(got, step.Kind)
	}
	if !slices.Equal(got, want) {
		t.Errorf("seed 1 begins with %v, and used to begin with %v", got, want)
	}
}

func TestTheScheduleFitsThePlan(t *testing.T) {
	for seed := range uint64(50) {
		p := somePlan(seed)
		p.Processes = 1 + int(seed%5)
		steps := Schedule(p)
		counts := map[Kind]int{}
		end := time.Duration(0)
		for i, s := range steps {
			counts[s.Kind]++
			if s.At < end || s.At+s.For+coolDown > p.Duration || s.N != i+1 {
				t.Fatalf("seed %d: %+v, the one before ends at %v", seed, s, end)
			}
			end = s.At + s.For
			if p.Processes > 1 && (s.Target > p.Processes || s.Target < 0) {
				t.Fatalf("seed %d: no process %d", seed, s.Target)
			}
			switch s.Kind {
			case KillWorker:
				if s.Target == 1 {
					t.Fatalf("seed %d: the first process is to be killed", seed)
				}
			case FreezeForwarder, Latency:
				if p.Processes > 1 && s.Target <= p.Processes-p.Forwarded() {
					t.Fatalf("seed %d: process %d has no forwarder", seed, s.Target)
				}
			case FreezeWorker:
				if s.For <= p.SessionTimeout() {
					t.Fatalf("seed %d: frozen for %v only", seed, s.For)
				}
			default:
			}
		}
		least, most := 1<<30, 0
		for _, about := range Kinds {
			least, most = min(least, counts[about.Kind]), max(most, counts[about.Kind])
		}
		if least < 5 || most > least+1 {
			t.Errorf("seed %d: %v", seed, counts)
		}
	}
}

func TestParseFaults(t *testing.T) {
	all := len(Kinds)
	for list, want := range map[string]int{
		"all": all, "none": 0, "promote": 1, "promote, terminate": 2, "all,-promote": all - 1, "-promote,-latency": all - 2,
		"promote,-promote": 0,
	} {
		if got, err := ParseFaults(list); err != nil || len(got) != want {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	for _, list := range []string{"", "promot", "all,x", "-x", "all;promote", "promote,none"} {
		if got, err := ParseFaults(list); err == nil {
			t.Errorf("%q: %v", list, got)
		}
	}
	if Schedule(&Plan{Duration: time.Hour}) != nil {
		t.Error("faults where none were asked for")
	}
}

func TestParseUses(t *testing.T) {
	all := len(Uses)
	for list, want := range map[string]int{"all": all, "sets": 1, "once, elect": 2, "-sets": all - 1, "all,-tx,-shared-tx": all - 2} {
		if got, err := ParseUses(list); err != nil || len(got) != want {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	for _, list := range []string{"", "none", "set", "terminate", "sets,-sets"} {
		if got, err := ParseUses(list); err == nil {
			t.Errorf("%q: %v", list, got)
		}
	}
	for i, about := range Uses {
		if about.Use.Place() != uint8(i) || about.Text == "" {
			t.Errorf("%+v", about)
		}
	}
}

func TestEveryKindHasAClass(t *testing.T) {
	for _, about := range Kinds {
		if about.Kind.Class() != about.Class || about.Text == "" {
			t.Errorf("%+v", about)
		}
	}
}
