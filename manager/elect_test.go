package manager_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// campaign is a call of Elect whose function runs until its context ends, and then until it may return.
type campaign struct {
	m           *manager.Manager
	terms       chan context.Context // one for each term
	mayReturn   chan struct{}
	returned    chan error
	transitions chan manager.Transition
	stop        context.CancelFunc
}

func elect(t *testing.T, m *manager.Manager) *campaign {
	t.Helper()
	c := &campaign{m: m, terms: make(chan context.Context, 100), mayReturn: make(chan struct{}), returned: make(chan error, 1),
		transitions: make(chan manager.Transition, 100)}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	failed := make(chan struct{})
	t.Cleanup(func() {
		stop()
		close(failed)
	})
	before := m.Stats()
	go func() {
		c.returned <- m.Elect(ctx, "leader", func(ctx context.Context) error {
			c.terms <- ctx
			<-ctx.Done()
			select {
			case <-c.mayReturn:
			case <-failed:
			}
			return context.Cause(ctx)
		}, manager.WithTransitions(func(n manager.Transition) { c.transitions <- n }))
	}()
	eventually(t, "it campaigns", func() bool {
		s := m.Stats()
		return s.Waiting > before.Waiting || s.Held > before.Held
	})
	return c
}

// leads waits for the next term.
func (c *campaign) leads(t *testing.T) context.Context {
	t.Helper()
	ctx := ended(t, "the term", c.terms)
	if err := c.m.Leader("leader").IsLeader(t.Context()); err != nil {
		t.Errorf("IsLeader of the leader: %v", err)
	}
	if n := ended(t, "the transition", c.transitions); !n.Leads || n.Cause != nil || n.At.IsZero() {
		t.Errorf("the observer was told %+v of the beginning of a term", n)
	}
	return ctx
}

// endsTerm waits for the end of a term, and checks what is told of it.
func (c *campaign) endsTerm(term context.Context, t *testing.T, cause error) {
	t.Helper()
	ended(t, "the end of the term", term.Done())
	wantIs(t, context.Cause(term), cause)
	n := ended(t, "the transition", c.transitions)
	if n.Leads {
		t.Errorf("the observer was told %+v of the end of a term", n)
	}
	wantIs(t, n.Cause, cause)
	wantIs(t, c.m.Leader("leader").IsLeader(t.Context()), manager.ErrNotLeader)
}

func (c *campaign) lets(t *testing.T) {
	t.Helper()
	select {
	case c.mayReturn <- struct{}{}:
	case <-t.Context().Done():
	}
}

// One leads, the other waits; the end of the first one's context makes the other the leader, when the function is back.
func TestElect(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s, manager.WithApplicationName("lk one")), openOn(t, s, manager.WithApplicationName("lk two"))
	if _, err := one.Leader("leader").Current(bounded(t)); !errors.Is(err, manager.ErrNoLeader) {
		t.Errorf("before all: %v", err)
	}
	first := elect(t, one)
	term := first.leads(t)
	second := elect(t, two)
	wantIs(t, two.Leader("leader").IsLeader(t.Context()), manager.ErrNotLeader)
	for _, m := range []*manager.Manager{one, two} {
		h, err := m.Leader("leader").Current(bounded(t))
		if err != nil || h.ApplicationName != "lk one" || h.Local != (m == one) || int(h.PID) != held(t, s)[one.Key("leader").ID()] || h.Since.IsZero() {
			t.Errorf("the leader is %+v, %v", h, err)
		}
	}
	first.stop()
	first.endsTerm(term, t, context.Canceled)
	if len(second.terms) > 0 || isEnded(first.returned) {
		t.Error("the key was released before the function had returned")
	}
	first.lets(t)
	err := ended(t, "the return of Elect", first.returned)
	wantIs(t, err, context.Canceled)
	second.endNext(t)
}

func TestResign(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s, oneSlice()...), openOn(t, s, oneSlice()...)
	wantIs(t, one.Leader("leader").Resign(bounded(t)), manager.ErrNotLeader)
	first := elect(t, one)
	term := first.leads(t)
	second, id := elect(t, two), one.Key("leader").ID()
	wantIs(t, two.Leader("leader").Resign(bounded(t)), manager.ErrNotLeader)
	waits := func() bool { return queued(t, s, id) == 1 }
	eventually(t, "the second waits at the server", waits)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	wantIs(t, one.Leader("leader").Resign(canceled), context.Canceled) // which resigns, and does not wait
	pid := held(t, s)[id]
	first.endsTerm(term, t, manager.ErrResigned)
	done := make(chan error, 1)
	go func() { done <- one.Leader("leader").Resign(bounded(t)) }()
	for range 10 { // the server would take no longer to give it to the second
		if isEnded(done) || len(second.terms) > 0 || held(t, s)[id] != pid {
			t.Fatal("the key was released before the function had returned")
		}
	}
	first.lets(t)
	if err := ended(t, "the return of Resign", done); err != nil && !errors.Is(err, manager.ErrNotLeader) { // it came too late
		t.Error(err)
	}
	term = second.leads(t) // and not the first again, which waits behind it
	eventually(t, "the first waits at the server", waits)
	go func() { done <- two.Leader("leader").Resign(bounded(t)) }()
	second.endsTerm(term, t, manager.ErrResigned)
	second.lets(t)
	if err := ended(t, "the return of Resign", done); err != nil {
		t.Error(err)
	}
	first.endNext(t)
	second.endNext(t)
}

// endNext ends a campaign in its next term.
func (c *campaign) endNext(t *testing.T) {
	t.Helper()
	c.endThis(c.leads(t), t)
}

// endThis ends a campaign in its term.
func (c *campaign) endThis(term context.Context, t *testing.T) {
	t.Helper()
	c.stop()
	c.endsTerm(term, t, context.Canceled)
	c.lets(t)
	wantIs(t, ended(t, "the return of Elect", c.returned), context.Canceled)
}

// The session ends at the server: the other leads at once, and the one who has lost campaigns again when its function is back.
func TestElectAfterALoss(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	first := elect(t, one)
	term := first.leads(t)
	second := elect(t, two)
	terminate(t, s, held(t, s)[one.Key("leader").ID()])
	first.endsTerm(term, t, manager.ErrLost)
	other := second.leads(t)
	first.lets(t)
	eventually(t, "the first campaigns again", func() bool { return one.Stats().Waiting == 1 })
	second.stop()
	second.endsTerm(other, t, context.Canceled)
	second.lets(t)
	first.endNext(t)
}

func TestElectReturnsWhatItsFunctionReturns(t *testing.T) {
	m, broken := open(t), errors.New("the disk is full")
	for _, row := range []struct {
		name   string
		f      func(ctx context.Context) error
		want   error
		panics bool
	}{
		{"nil", func(context.Context) error { return nil }, nil, false},
		{"an error", func(context.Context) error { return broken }, broken, false},
		{"an error after its term", func(ctx context.Context) error {
			resign(t, m)
			<-ctx.Done()
			return broken
		}, broken, false},
		{"a panic", func(context.Context) error { panic(broken) }, broken, true},
		{"Goexit", func(context.Context) error { runtime.Goexit(); return nil }, nil, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var told []manager.Transition
			err, value := errors.New("Elect did not return"), any(nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { value = recover() }()
				err = m.Elect(bounded(t), "leader", row.f, manager.WithTransitions(func(n manager.Transition) { told = append(told, n) }))
			}()
			ended(t, "the end of the call", done)
			if !row.panics && !errors.Is(err, row.want) || row.panics && row.want != nil && value != row.want { //nolint:errorlint // that very value
				t.Errorf("returned %v, panicked with %v", err, value)
			}
			release(t, acquire(t, m, "leader")) // nothing is left
		})
	}
}

func resign(t *testing.T, m *manager.Manager) {
	t.Helper()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	wantIs(t, m.Leader("leader").Resign(canceled), context.Canceled)
}

func TestElectAndClose(t *testing.T) {
	m := open(t)
	c := elect(t, m)
	term := c.leads(t)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeNow(t, m)
	}()
	c.endsTerm(term, t, manager.ErrClosed)
	if isEnded(closed) {
		t.Error("Close returned before the function had")
	}
	c.lets(t)
	ended(t, "the return of Close", closed)
	wantIs(t, ended(t, "the return of Elect", c.returned), manager.ErrClosed)
	wantIs(t, m.Elect(bounded(t), "leader", func(context.Context) error { return nil }), manager.ErrClosed)
}

// An observer that blocks delays nothing, and is told all of it in order; one that panics is told the rest.
func TestObserverOfTransitions(t *testing.T) {
	m := open(t)
	begin, told := make(chan struct{}), make(chan manager.Transition, 100)
	const terms = 20
	n := 0
	err := m.Elect(bounded(t), "leader", func(context.Context) error {
		if n++; n < terms {
			resign(t, m)
		}
		return nil
	}, manager.WithTransitions(func(n manager.Transition) {
		<-begin
		told <- n
		panic("an observer's")
	}))
	if err != nil || n != terms {
		t.Fatalf("%d terms, and then %v", n, err)
	}
	close(begin)
	for i := range 2 * terms {
		got := ended(t, "the transition", told)
		resigned := errors.Is(got.Cause, manager.ErrResigned)
		if got.Leads != (i%2 == 0) || resigned != (i%2 == 1 && i < 2*terms-1) {
			t.Errorf("transition %d is %+v", i, got)
		}
	}
	if _, err := m.Acquire(t.Context(), "k", manager.WithTransitions(func(manager.Transition) {})); err == nil {
		t.Error("Acquire took the option of Elect")
	}
}

// A hold by Do is not a term, and a key that cannot be locked has no leader.
func TestLeaderOfWhatIsNoElection(t *testing.T) {
	m := open(t)
	err := m.Do(bounded(t), "leader", func(ctx context.Context) error {
		wantIs(t, m.Leader("leader").IsLeader(ctx), manager.ErrNotLeader)
		wantIs(t, m.Leader("leader").Resign(ctx), manager.ErrNotLeader)
		wantIs(t, m.Elect(ctx, "leader", func(context.Context) error { return nil }), manager.ErrHeld)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	f := func(context.Context) error { return nil }
	wantIs(t, m.Elect(bounded(t), "", f), manager.ErrEmptyKey)
	wantIs(t, m.Elect(nil, "leader", f), manager.ErrNilContext)        //nolint:staticcheck // that is the test
	wantIs(t, m.Leader("leader").IsLeader(nil), manager.ErrNilContext) //nolint:staticcheck // likewise
	wantIs(t, m.Leader("leader").Resign(nil), manager.ErrNilContext)   //nolint:staticcheck // likewise
	_, err = m.Leader("leader").Current(nil)                           //nolint:staticcheck // likewise
	wantIs(t, err, manager.ErrNilContext)
}

// Who waits for the takeover delay does not lead yet. There is nothing to resign, and a Resign at that time ends no campaign.
func TestNobodyLeadsDuringTheTakeoverDelay(t *testing.T) {
	s := migrated(t)
	for name, ids := range map[string]manager.Option{"one id": withOld, "two ids": withBoth} {
		t.Run(name, func(t *testing.T) {
			opts := append(delayed(never), ids)
			old, next := openOn(t, s, opts...), openOn(t, s, opts...)
			first := elect(t, old)
			term := first.leads(t)
			second := elect(t, next)
			id := next.Key("leader").ID()
			terminate(t, s, held(t, s)[id])
			first.endsTerm(term, t, manager.ErrLost) // and its function goes on
			eventually(t, "the next has a token, and waits for the delay", func() bool {
				return len(query(t, s, fmt.Sprintf("SELECT 1 FROM lockkeeper.fence WHERE id = %d AND token > told AND ended < told", id))) > 0
			})
			leader := next.Leader("leader")
			wantIs(t, leader.IsLeader(bounded(t)), manager.ErrNotLeader)
			wantIs(t, leader.Resign(bounded(t)), manager.ErrNotLeader)
			if len(second.terms) > 0 {
				t.Error("the next leads, and the function of the first goes on")
			}
			first.stop()
			first.lets(t) // its work has ended: the delay is over
			term = second.leads(t)
			select {
			case err := <-second.returned:
				t.Errorf("Elect returned %v", err)
			default:
			}
			second.endThis(term, t)
			wantIs(t, ended(t, "the return of Elect", first.returned), context.Canceled)
		})
	}
}
