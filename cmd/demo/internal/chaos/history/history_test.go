package history

import (
	"slices"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// The histories here count milliseconds; the trust is a second.
const ms = int64(time.Millisecond)

// story is a history that a test writes by hand.
type story struct {
	t    *testing.T
	book *Book
	n    uint64
}

func newStory(t *testing.T, faults ...*plan.Fault) *story {
	t.Helper()
	s := &story{t: t, book: New(&plan.Plan{Duration: time.Minute, Processes: 4, Keys: 2, Interval: time.Second / 2, Timeout: time.Second / 2})}
	for _, f := range faults {
		s.book.Begin(f)
	}
	return s
}

// fault is one that began, was in place, was taken back and was healed at these times.
func fault(kind plan.Kind, target int, begin, active, end, healed int64) *plan.Fault {
	return &plan.Fault{N: 7, Kind: kind, Target: target, Begin: begin * ms, Active: active * ms, End: end * ms, Healed: healed * ms}
}

// handle is an acquisition of the story.
type handle struct {
	s *story
	r Record
}

func (s *story) ask(process int, at int64) *handle {
	s.n++
	h := &handle{s: s, r: Record{Handle: NewHandle(process, 1, s.n)}}
	h.add(Record{Kind: Asked, Call: at * ms})
	return h
}

func (h *handle) add(r Record) *handle {
	r.Handle, r.Key = h.r.Handle, h.r.Key
	h.s.book.Add(r)
	return h
}

func (h *handle) grant(at int64) *handle {
	return h.add(Record{Kind: Granted, Return: at * ms})
}
func (h *handle) look(at int64) *handle { return h.add(Record{Kind: Held, Call: at * ms}) }
func (h *handle) release(from, to int64, outcome Outcome) {
	h.add(Record{Kind: Letting, Call: from * ms})
	h.add(Record{Kind: Let, Return: to * ms, Outcome: outcome, Cause: ByServer})
}

func (h *handle) lose(looked, told int64, cause Cause) {
	h.add(Record{Kind: Lost, Call: looked * ms, Return: told * ms, Cause: cause})
}

func (h *handle) write(looked, by int64, flags uint8) *handle {
	return h.add(Record{Kind: Wrote, Call: looked * ms, Return: by * ms, Flags: flags})
}

// want checks the kinds of the violations, each once.
func (s *story) want(kinds ...string) *Verdict {
	s.t.Helper()
	v := s.book.Finish()
	var got []string
	for _, found := range v.Found {
		if !slices.Contains(got, found.Kind) {
			got = append(got, found.Kind)
		}
	}
	slices.Sort(got)
	slices.Sort(kinds)
	if !slices.Equal(got, kinds) || len(v.Problems) > 0 {
		s.t.Errorf("violations %q, want %q; %+v; problems %q", got, kinds, v.Found, v.Problems)
	}
	return v
}

func TestALegalHistory(t *testing.T) {
	s := newStory(t)
	a, b, c := s.ask(1, 0), s.ask(2, 0), s.ask(3, 1)
	a.grant(1).look(5).release(10, 12, OK)
	b.grant(11).look(15).release(20, 25, OK) // handed on before the release came back
	c.grant(22).release(30, 31, OK)
	s.ask(1, 30).add(Record{Kind: Refused, Outcome: Busy, Return: 31 * ms})
	v := s.want()
	if v.Grants != 3 || v.Checked != 3 || v.Overlaps != 0 || v.Operations.Acquire["busy"] != 1 {
		t.Errorf("%+v", v)
	}
}

func TestAnOverlapIsFound(t *testing.T) {
	s := newStory(t)
	s.ask(1, 0).grant(1).look(9).release(10, 11, OK)
	s.ask(2, 2).grant(8).release(12, 13, OK)
	s.want("not a lock", "overlap")
}

func TestADoubleGrantWithinOneProcessIsFound(t *testing.T) {
	s := newStory(t)
	s.ask(1, 0).grant(1).release(100, 101, OK)
	s.ask(1, 0).grant(2).release(3, 4, OK)
	s.want("not a lock", "overlap")
}

func TestAGrantWithoutAReleaseIsFound(t *testing.T) {
	s := newStory(t)
	s.ask(1, 0).grant(1).look(50) // never released, never lost, never killed
	s.ask(2, 2).grant(8).release(12, 13, OK)
	v := s.book.Finish()
	if len(v.Problems) == 0 {
		t.Error("nobody misses the release")
	}
}

// Porcupine alone finds what the sweep cannot see: the earlier hold was released at an unknown time.
func TestAnUnknownReleaseMayComeAtAnyLaterTime(t *testing.T) {
	s := newStory(t)
	s.ask(1, 0).grant(1).release(10, 20, Unknown)
	s.ask(2, 2).grant(500).release(501, 502, OK)
	s.want()
	s = newStory(t)
	s.ask(1, 0).grant(1).release(10, 20, Unknown)
	s.ask(2, 2).grant(9).release(501, 502, OK) // before it was even called
	s.want("not a lock", "overlap")
}

func TestAServerThatEndsASessionExcusesAnOverlap(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  *plan.Fault
		looked int64
		want   []string
	}{
		{"in time", fault(plan.Terminate, 1, 100, 101, 101, 101), 105, nil},
		{"after a restart", fault(plan.FastRestart, 0, 90, 0, 400, 450), 300, nil},
		{"of another process", fault(plan.Terminate, 3, 100, 101, 101, 101), 105, []string{"not a lock", "overlap"}},
		{"only later", fault(plan.Terminate, 1, 104, 106, 106, 106), 105, []string{"not a lock", "overlap"}},
		{"longer than the trust", fault(plan.Terminate, 1, 100, 101, 101, 101), 1200, []string{"long overlap"}},
		{"a partition excuses none", fault(plan.Partition, 1, 10, 11, 2500, 2500), 105, []string{"not a lock", "overlap"}},
		{"a latency excuses none", fault(plan.Latency, 1, 10, 11, 2500, 2500), 105, []string{"not a lock", "overlap"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory(t, tt.fault)
			told := tt.looked + 1
			if tt.looked > 1000 {
				told = 1500
			}
			s.ask(1, 0).grant(1).lose(tt.looked, told, ByServer)
			s.ask(2, 2).grant(103).look(1300).release(1400, 1401, OK)
			v := s.want(tt.want...)
			if v.Overlaps != 1 {
				t.Errorf("overlaps: %+v", v.OverlapList)
			}
		})
	}
}

// A release that was confirmed has no excuse: the lock was there to be released.
func TestAConfirmedReleaseHasNoExcuse(t *testing.T) {
	s := newStory(t, fault(plan.Terminate, 1, 100, 101, 101, 101))
	s.ask(1, 0).grant(1).release(110, 111, OK)
	s.ask(2, 2).grant(103).release(120, 121, OK)
	s.want("not a lock", "overlap")
}

func TestSilenceEndsBeliefWithTheTrust(t *testing.T) {
	s := newStory(t, fault(plan.Partition, 1, 100, 101, 2600, 2600))
	s.ask(1, 0).grant(1).lose(1100, 1103, BySilence) // the last look at 1100, the trust ends at 1101 at the latest
	s.ask(2, 2).grant(2100).release(2110, 2111, OK)
	v := s.want()
	if v.Losses != 1 || v.LossList[0].Fault != 7 || v.LossList[0].After != 1002*time.Millisecond {
		t.Errorf("%+v", v.LossList)
	}
	for name, kind := range map[string]plan.Kind{"partition": plan.Partition, "frozen worker": plan.FreezeWorker, "frozen server": plan.FreezeServer} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, fault(kind, 1, 100, 101, 2600, 2600))
			s.ask(1, 0).grant(1).lose(2601, 2602, BySilence) // one look too many
			v := s.want("believed too long")
			if late := len(v.LateLosses) == 1; late == (kind == plan.FreezeWorker) { // who could not be told while it was frozen
				t.Errorf("%+v", v.LossList)
			}
		})
	}
}

func TestAFalseLossIsFound(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault *plan.Fault
		cause Cause
		false bool
	}{
		{"no fault at all", nil, ByServer, true},
		{"explained", fault(plan.Terminate, 1, 100, 101, 101, 101), ByServer, false},
		{"another process", fault(plan.Terminate, 2, 100, 101, 101, 101), ByServer, true},
		{"a storm explains none", fault(plan.CancelStorm, 1, 100, 101, 200, 200), ByDoubt, true},
		{"a full lock table explains none", fault(plan.FullLockTable, 0, 100, 101, 200, 200), ByDoubt, true},
		{"a server goes down in silence", fault(plan.Promote, 0, 100, 101, 101, 101), BySilence, false},
		{"terminated is not silent", fault(plan.Terminate, 1, 100, 101, 101, 101), BySilence, true},
		{"long ago", fault(plan.Terminate, 1, 10, 11, 11, 11), ByServer, true},
		{"a panic", fault(plan.KeeperPanic, 1, 100, 101, 200, 200), ByKeeper, false},
		{"a panic that nobody injected", fault(plan.Terminate, 1, 100, 101, 101, 101), ByKeeper, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var faults []*plan.Fault
			told := int64(150)
			if tt.fault != nil {
				faults = append(faults, tt.fault)
			}
			if tt.name == "long ago" {
				told = 5000
			}
			s := newStory(t, faults...)
			s.ask(1, 0).grant(1).lose(told-1, told, tt.cause)
			v := s.book.Finish()
			if (len(v.FalseLosses) == 1) != tt.false {
				t.Errorf("%+v", v.LossList)
			}
		})
	}
}

func TestAKilledProcessHoldsNoLonger(t *testing.T) {
	s := newStory(t, killed)
	s.ask(1, 0).grant(1).look(90)
	s.ask(1, 50) // what became of it nobody knows
	s.book.Died(1, 1, 120*ms)
	s.ask(2, 2).grant(110).release(130, 131, OK)
	v := s.want()
	if v.Killed != 1 || v.Operations.Acquire["unknown"] != 1 {
		t.Errorf("%+v", v)
	}
	s = newStory(t, killed)
	s.ask(1, 0).grant(1).look(90)
	s.book.Died(1, 1, 120*ms)
	s.ask(2, 2).grant(80).release(130, 131, OK) // while it was alive
	s.want("not a lock", "overlap")
}

func TestStaleWrites(t *testing.T) {
	lost := fault(plan.FreezeWorker, 1, 100, 101, 2600, 2600)
	s := newStory(t, lost) // the frozen one's write was on its way
	s.ask(1, 0).grant(1).write(99, 2601, 0).lose(99, 2601, BySilence)
	s.ask(2, 2).grant(2100).write(2605, 2606, Torn).look(2610).release(2620, 2621, OK)
	if v := s.want(); v.StaleWrites != 1 {
		t.Errorf("%+v", v)
	}
	s = newStory(t, lost) // nobody's was
	s.ask(1, 0).grant(1).write(50, 60, 0).look(70).lose(99, 2601, BySilence)
	s.ask(2, 2).grant(2100).write(2605, 2606, Torn).look(2610).release(2620, 2621, OK)
	s.want("stale write")
}

func TestARecordThatComesTooLateIsNotLost(t *testing.T) {
	s := newStory(t)
	s.ask(1, 0).grant(100).release(110, 111, OK)
	s.book.Check(1000 * ms)
	s.ask(2, 0).grant(50).release(60, 61, OK)
	if v := s.book.Finish(); len(v.Problems) == 0 {
		t.Error("a hold was never checked, and nobody says so")
	}
}

// A machine that is busy elsewhere is no fault of anybody, and no excuse for anything but silence.
func TestAStallExplainsSilence(t *testing.T) {
	for _, tt := range []struct {
		process  int
		from, to int64
		cause    Cause
		false    bool
	}{
		{1, 400, 900, BySilence, false},
		{0, 400, 900, BySilence, false},
		{2, 400, 900, BySilence, true},
		{1, 700, 900, BySilence, true}, // too short
		{1, 4000, 4900, BySilence, true},
		{1, 400, 900, ByServer, true},
	} {
		s := newStory(t)
		s.book.Add(Record{Kind: Stalled, Handle: NewHandle(tt.process, 1, 0), Call: tt.from * ms, Return: tt.to * ms})
		s.ask(1, 0).grant(1).lose(999, 1000, tt.cause)
		v := s.book.Finish()
		if (len(v.FalseLosses) == 1) != tt.false || (v.StallLosses == 1) == tt.false {
			t.Errorf("%+v: %+v", tt, v.LossList)
		}
	}
}

// An open hold keeps what came after it from being checked without it.
func TestAnOpenHoldIsWaitedFor(t *testing.T) {
	s := newStory(t)
	frozen := s.ask(1, 0).grant(1)
	s.ask(2, 0).grant(5).release(6, 7, OK)
	s.book.Check(1000 * ms)
	frozen.release(2000, 2001, OK)
	s.want("not a lock", "overlap")
}
