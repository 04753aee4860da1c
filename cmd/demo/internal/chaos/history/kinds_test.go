package history

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// begin begins the acquisition that the record describes.
func (s *story) begin(process int, at int64, r Record) *handle {
	s.n++
	h := &handle{s: s, r: Record{Handle: NewHandle(process, 1, s.n), Key: r.Key, Period: r.Period}}
	r.Kind, r.Call = Asked, at*ms
	return h.add(r)
}

// room asks for a key that has room for so many.
func (s *story) room(process int, at int64, room uint16) *handle {
	return s.begin(process, at, Record{Room: room})
}

// kept asks for a key that stays locked until a time, in process 1.
func (s *story) kept(at, until int64) *handle {
	return s.begin(1, at, Record{Use: plan.MinHold.Place(), Return: until * ms})
}

// once runs a job in a period, from its grant to its release.
func (s *story) once(process int, period uint32, from, to int64) {
	s.begin(process, from-1, Record{Use: plan.Once.Place(), Period: period, Return: never}).grant(from).release(to-1, to, OK)
}

var terminated = fault(plan.Terminate, 1, 100, 101, 101, 101)

var killed = fault(plan.KillWorker, 1, 100, 101, 120, 500)

func TestKindsOfLocks(t *testing.T) {
	for name, tt := range map[string]struct {
		faults []*plan.Fault
		tell   func(s *story)
		want   []string
	}{
		"readers share": {nil, func(s *story) {
			s.room(1, 0, Everyone).grant(1).release(20, 21, OK)
			s.room(2, 2, Everyone).grant(5).release(30, 31, OK)
			s.room(1, 2, Everyone).grant(6).release(10, 11, OK)
			s.ask(3, 3).grant(31).release(40, 41, OK)
			s.room(1, 35, Everyone).grant(41).release(50, 51, OK)
		}, nil},
		"a writer among readers": {nil, func(s *story) {
			s.room(1, 0, Everyone).grant(1).release(20, 21, OK)
			s.room(2, 2, Everyone).grant(5).release(30, 31, OK)
			s.ask(3, 3).grant(25).release(40, 41, OK) // the first has gone, the second has not
		}, []string{"not a lock", "overlap"}},
		"a reader beside a writer": {nil, func(s *story) {
			s.ask(3, 0).grant(1).release(20, 21, OK)
			s.room(1, 2, Everyone).grant(19).release(30, 31, OK)
		}, []string{"not a lock", "overlap"}},
		"a reader whose session the server ended": {[]*plan.Fault{terminated}, func(s *story) {
			s.room(1, 0, Everyone).grant(1).lose(105, 106, ByServer)
			s.ask(2, 2).grant(103).release(120, 121, OK)
		}, nil},
		"another reader than that": {[]*plan.Fault{terminated}, func(s *story) {
			s.room(1, 0, Everyone).grant(1).lose(105, 106, ByServer)
			s.room(3, 0, Everyone).grant(1).release(110, 111, OK)
			s.ask(2, 2).grant(103).release(120, 121, OK)
		}, []string{"not a lock", "overlap"}},
		"a reader reads another value": {nil, func(s *story) {
			s.room(1, 0, Everyone).grant(1).add(Record{Kind: Reread, Call: 19 * ms, Return: 20 * ms}).release(20, 21, OK)
		}, []string{"stale write"}},
		"a reader reads what a lost writer wrote": {[]*plan.Fault{terminated}, func(s *story) {
			s.ask(1, 0).grant(1).write(105, 110, 0).lose(105, 106, ByServer)
			s.room(2, 0, Everyone).grant(106).add(Record{Kind: Reread, Call: 119 * ms, Return: 120 * ms}).release(120, 121, OK)
		}, nil},
		"a reader reads what a killed writer wrote": {[]*plan.Fault{killed}, func(s *story) {
			s.ask(1, 0).grant(1).look(99)
			s.book.Died(1, 1, 120*ms)
			s.room(2, 0, Everyone).grant(106).add(Record{Kind: Reread, Call: 119 * ms, Return: 120 * ms}).release(120, 121, OK)
		}, nil},
		"a killed reader wrote nothing": {[]*plan.Fault{killed}, func(s *story) {
			s.room(1, 0, Everyone).grant(1).look(99)
			s.book.Died(1, 1, 120*ms)
			s.room(2, 0, Everyone).grant(106).add(Record{Kind: Reread, Call: 119 * ms, Return: 120 * ms}).release(120, 121, OK)
		}, []string{"stale write"}},
		"two have two slots": {nil, func(s *story) {
			s.room(1, 0, 2).grant(1).release(20, 21, OK)
			s.room(2, 0, 2).grant(1).release(10, 12, OK)
			s.room(3, 0, 2).grant(11).release(30, 31, OK)
			s.room(1, 0, 2).grant(20).release(30, 31, OK)
		}, nil},
		"three have two slots": {nil, func(s *story) {
			s.room(1, 0, 2).grant(1).release(20, 21, OK)
			s.room(2, 0, 2).grant(1).release(10, 12, OK)
			s.room(3, 0, 2).grant(9).release(30, 31, OK)
		}, []string{"not a lock", "overlap"}},
		"a third slot after a session was ended": {[]*plan.Fault{terminated}, func(s *story) {
			s.room(2, 0, 2).grant(1).release(200, 201, OK)
			s.room(1, 0, 2).grant(1).lose(105, 106, ByServer)
			s.room(3, 0, 2).grant(103).release(190, 191, OK)
		}, nil},
		"a fourth slot after that": {[]*plan.Fault{terminated}, func(s *story) {
			s.room(2, 0, 2).grant(1).release(200, 201, OK)
			s.room(1, 0, 2).grant(1).lose(105, 106, ByServer)
			s.room(3, 0, 2).grant(103).release(190, 191, OK)
			s.room(4, 0, 2).grant(104).release(190, 191, OK)
		}, []string{"not a lock", "overlap"}},
		"slots of another number": {nil, func(s *story) {
			s.room(1, 0, 3).grant(1).release(20, 21, OK)
			s.room(2, 0, 2).grant(5).release(10, 12, OK)
		}, []string{"not a lock", "overlap"}},
		"a minimum hold": {nil, func(s *story) {
			s.kept(0, 50).grant(1).release(5, 6, OK)
			s.ask(2, 2).grant(50).release(60, 61, OK)
			s.kept(55, 58).grant(61).release(70, 71, OK) // it was over before the grant
			s.ask(2, 70).grant(70).release(80, 81, OK)
		}, nil},
		"a minimum hold that ends early": {nil, func(s *story) {
			s.kept(0, 50).grant(1).release(5, 6, OK)
			s.ask(2, 2).grant(49).release(60, 61, OK)
		}, []string{"not a lock", "freed too early"}},
		"a minimum hold whose session was ended": {[]*plan.Fault{terminated}, func(s *story) {
			s.kept(0, 200).grant(1).release(5, 6, OK)
			s.ask(2, 2).grant(100).release(110, 111, OK)
		}, nil},
		"a minimum hold that ended before that": {[]*plan.Fault{terminated}, func(s *story) {
			s.kept(0, 200).grant(1).release(5, 6, OK)
			s.ask(2, 2).grant(99).release(110, 111, OK)
		}, []string{"not a lock", "freed too early"}},
		"a minimum hold in a stall": {nil, func(s *story) {
			s.book.Add(Record{Kind: Stalled, Handle: NewHandle(1, 1, 0), Call: 10 * ms, Return: 400 * ms})
			s.kept(0, 900).grant(1).release(5, 6, OK)
			s.ask(2, 2).grant(500).release(510, 511, OK)
		}, nil},
		"a minimum hold whose loss was told": {[]*plan.Fault{terminated}, func(s *story) {
			s.kept(0, 900).grant(1).lose(101, 102, ByServer)
			s.ask(2, 2).grant(103).release(110, 111, OK)
		}, nil},
		"a minimum hold whose release was not confirmed": {nil, func(s *story) { // its session was ended then
			s.kept(0, 900).grant(1).release(5, 6, Unknown)
			s.ask(2, 2).grant(103).release(110, 111, OK)
		}, nil},
		"a minimum hold that another fault cannot end": {[]*plan.Fault{fault(plan.Terminate, 2, 10, 11, 11, 11)}, func(s *story) {
			s.kept(0, 900).grant(1).release(5, 6, OK)
			s.ask(2, 2).grant(103).release(110, 111, OK)
		}, []string{"not a lock", "freed too early"}},
		"a minimum hold of a manager that closed": {nil, func(s *story) {
			s.book.Close(100 * ms)
			s.kept(0, 900).grant(1).release(5, 6, OK)
			s.ask(2, 2).grant(103).release(110, 111, OK)
		}, nil},
		"once in each period": {nil, func(s *story) {
			s.once(1, 7, 1, 5)
			s.once(2, 8, 3, 9) // the clock of process 2 says that the next one has begun
			s.once(1, 9, 2000, 2001)
		}, nil},
		"twice in a period": {nil, func(s *story) {
			s.once(1, 7, 1, 5)
			s.once(2, 7, 1900, 1901)
		}, []string{"not a lock", "freed too early"}},
		"twice, at the same time": {nil, func(s *story) {
			s.once(1, 7, 1, 50)
			s.once(2, 7, 40, 60)
		}, []string{"not a lock", "overlap"}},
		"again, since the session was ended": {[]*plan.Fault{terminated}, func(s *story) {
			s.once(1, 7, 1, 5)
			s.once(2, 7, 102, 105)
		}, nil},
		"again, and again": {[]*plan.Fault{terminated}, func(s *story) {
			s.once(1, 7, 1, 5)
			s.once(2, 7, 102, 105)
			s.once(1, 7, 110, 115) // that of process 2 was not
		}, []string{"not a lock", "freed too early"}},
		"again, since the process was killed": {[]*plan.Fault{fault(plan.KillWorker, 1, 100, 101, 102, 103)}, func(s *story) {
			s.once(1, 7, 1, 5)
			s.once(2, 7, 102, 105)
		}, nil},
		"a leader resigns": {nil, func(s *story) { // and is not told what became of the release
			s.begin(1, 0, Record{Use: plan.Elect.Place()}).grant(1).look(10).release(10, 15, Unknown)
			s.begin(2, 0, Record{Use: plan.Elect.Place()}).grant(12).release(20, 21, OK)
		}, nil},
		"two leaders": {nil, func(s *story) {
			s.begin(1, 0, Record{Use: plan.Elect.Place()}).grant(1).look(10).release(10, 15, Unknown)
			s.begin(2, 0, Record{Use: plan.Elect.Place()}).grant(9).release(20, 21, OK)
		}, []string{"not a lock", "overlap"}},
		"a set": {nil, func(s *story) {
			a, b := s.begin(1, 0, Record{Key: 0}), s.begin(1, 0, Record{Key: 1})
			a.grant(5).release(10, 11, OK)
			b.grant(5).release(10, 11, OK)
			s.begin(2, 0, Record{Key: 1}).grant(11).release(20, 21, OK)
		}, nil},
		"half a set": {nil, func(s *story) {
			a, b := s.begin(1, 0, Record{Key: 0}), s.begin(1, 0, Record{Key: 1})
			s.begin(2, 0, Record{Key: 1}).grant(3).release(6, 7, OK)
			a.grant(5).release(10, 11, OK)
			b.grant(5).release(10, 11, OK)
		}, []string{"not a lock", "overlap"}},
		"a transaction whose session ended": {nil, func(s *story) { // no fault has to explain it
			s.begin(1, 0, Record{Use: plan.Tx.Place()}).grant(1).look(10).lose(15, 40, ByStatement)
			s.ask(2, 0).grant(16).release(20, 21, OK)
		}, nil},
		"a transaction that shares the lock": {nil, func(s *story) {
			s.begin(1, 0, Record{Use: plan.Tx.Place()}).grant(1).look(10).lose(15, 40, ByStatement)
			s.ask(2, 0).grant(14).release(20, 21, OK)
		}, []string{"not a lock", "overlap"}},
		"a transaction outlives a partition": {[]*plan.Fault{fault(plan.Partition, 1, 100, 101, 1500, 1500)}, func(s *story) {
			s.begin(1, 0, Record{Use: plan.Tx.Place()}).grant(1).look(1600).release(1700, 1701, OK)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, tt.faults...)
			tt.tell(s)
			s.want(tt.want...)
			for _, l := range s.book.verdict.LossList {
				if l.cause == ByStatement {
					t.Errorf("%+v", l)
				}
			}
		})
	}
}

// Porcupine is not asked about the first of holds that overlap before it is about the others.
func TestHoldsThatOverlapAreCheckedTogether(t *testing.T) {
	s := newStory(t)
	s.room(1, 0, Everyone).grant(1).look(39).release(40, 41, OK)
	s.room(2, 2, Everyone).grant(5).release(6, 7, OK)
	s.ask(3, 3).grant(30).release(50, 51, OK)
	s.book.Check(20 * ms)
	s.want("not a lock", "overlap")
}

// The runs of a period are checked together, when it is long over, and are forgotten then.
func TestPeriodsAreForgotten(t *testing.T) {
	s := newStory(t)
	s.once(1, 7, 1, 5)
	s.book.Check(1000 * ms)
	s.once(2, 7, 1900, 1901)
	s.once(2, 8, 2000, 2001)
	s.book.Check(1900*ms + onceKept)
	if n := len(s.book.locks); n != 1 {
		t.Errorf("%d locks are remembered", n)
	}
	if v := s.want("not a lock", "freed too early"); v.Runs != 2 || v.RunsAgain != 1 || v.Checked != 3 {
		t.Errorf("%+v", v)
	}
}
