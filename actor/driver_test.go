package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// driver drives a machine by hand: it is the keeper without goroutine, channels and store. Claims have one-letter names, and
// effects are told as words: "grant a refuse b".
type driver struct {
	t      *testing.T
	m      machine
	server server
	now    time.Time
	trust  time.Time
	claims map[string]*Claim
	did    string
	due    time.Time // the machine's nextDue after the last step
}

// driverSession is a session of a driver's.
type driverSession struct{ pid uint32 }

func (s *driverSession) TrustedUntil() time.Time { panic("the machine does not ask") }
func (s *driverSession) Lost() error             { return errBroken }
func (s *driverSession) PID() uint32             { return s.pid }

var theSession = &driverSession{1}

// quiet is an owner that does not care.
type quiet struct{}

func (quiet) HoldEnds(error, time.Time) {}

func newDriver(t *testing.T) *driver {
	t.Helper()
	now := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	return &driver{t: t, now: now, trust: now.Add(time.Hour), claims: map[string]*Claim{},
		m: machine{limits: &Limits{MaxWaiters: 3, HandOffTime: 20 * time.Millisecond, HandOffGrants: 3}}}
}

func (d *driver) step(e message) *driver {
	var words []string
	before := d.server
	d.server.receive(e)
	for _, fx := range d.m.step(&before, &d.server, e, d.now, d.trust) {
		word := fx.kind.String()
		if fx.claim != nil && fx.kind >= fxAskPause {
			word += " " + fx.claim.Name
		}
		if fx.kind == fxReserve && fx.server.dedicated {
			word += "-dedicated"
		}
		words = append(words, word)
		switch fx.kind {
		case fxAskPause:
			fx.claim.askedPause = true
		case fxGrant:
			fx.claim.Session = theSession
			fx.claim.decide(nil)
		case fxRefuse:
			fx.claim.decide(fx.err)
		case fxOver:
			fx.claim.end(fx.err, d.now)
		case fxSettle:
			fx.claim.settle(fx.err)
		default:
		}
	}
	d.server, d.due = d.m.server, d.m.nextDue()
	d.did = strings.Join(words, " ")
	return d
}

// expect checks what the last step did and where it led.
func (d *driver) expect(effects string, s state) *driver {
	d.t.Helper()
	if d.did != effects || d.m.state() != s {
		d.t.Fatalf("did %q and is %v; should do %q and be %v", d.did, d.m.state(), effects, s)
	}
	return d
}

func (d *driver) wakesAfter(after time.Duration) *driver {
	d.t.Helper()
	if d.due.IsZero() || d.due.Sub(d.now) != after {
		d.t.Fatalf("wants to be woken at %v, should be after %v from %v", d.due, after, d.now)
	}
	return d
}

func (d *driver) sleepsOn() *driver {
	d.t.Helper()
	if !d.due.IsZero() {
		d.t.Fatalf("wants to be woken at %v, and nothing is due", d.due)
	}
	return d
}

func (d *driver) passes(span time.Duration) *driver { d.now = d.now.Add(span); return d }

func (d *driver) acquire(name string, change ...func(*Terms)) *driver {
	c := &Claim{reply: make(chan Reply, replyRoom)}
	c.Terms, c.Owner = key(1, change...), quiet{}
	c.Name, d.claims[name] = name, c
	return d.step(acquire{c})
}

func (d *driver) end(name string, cause error) *driver {
	return d.step(contextEnded{d.claims[name], cause})
}

func (d *driver) release(name string) *driver { return d.step(release{d.claims[name]}) }
func (d *driver) withdraw(name string) *driver {
	return d.step(withdraw{d.claims[name], context.Canceled})
}

// pause answers AskPause.
func (d *driver) pause(name string, pause time.Duration) *driver {
	return d.step(paused{d.claims[name], pause})
}

func (d *driver) answer(a Answer) *driver   { return d.step(Answered{&a}) }
func (d *driver) yes() *driver              { return d.answer(Answer{OK: true}) }
func (d *driver) no() *driver               { return d.answer(Answer{}) }
func (d *driver) broken() *driver           { return d.answer(Answer{Err: errBroken, Transient: true}) }
func (d *driver) refused() *driver          { return d.answer(Answer{Err: errBroken}) }
func (d *driver) reserved(a Answer) *driver { return d.step(Reserved{&a}) }
func (d *driver) session() *driver          { return d.reserved(Answer{OK: true}) }
func (d *driver) noSession() *driver        { return d.reserved(Answer{Err: errBroken, Transient: true}) }
func (d *driver) withdrawn() *driver        { return d.reserved(Answer{Err: errWithdrawn, Transient: true}) }
func (d *driver) lose() *driver             { return d.step(Lost{theSession}) }
func (d *driver) tick() *driver             { return d.step(due{}) }
func (d *driver) close() *driver            { return d.step(closing{}) }
func (d *driver) told(h *Holder) *driver    { return d.step(Told{Holder: h, Asked: d.now}) }

// refusal checks why a claim was refused.
func (d *driver) refusal(name string, reasons ...error) *Claim {
	d.t.Helper()
	c := d.claims[name]
	for _, reason := range reasons {
		if !errors.Is(c.Err, reason) {
			d.t.Fatalf("%s: answered with %v, should be %v", name, c.Err, reason)
		}
	}
	return c
}

func (d *driver) count(name string, attempts, failures int) *driver {
	d.t.Helper()
	if c := d.claims[name]; c.Attempts != attempts || len(c.Failures) != failures {
		d.t.Fatalf("%s has %d attempts and %d failures, should be %d and %d", name, c.Attempts, len(c.Failures),
			attempts, failures)
	}
	return d
}

// in brings a machine into a state, with one claim "a" that it is all about; none in stIdle, and in stSettling a claim
// that came after the restart.
func in(t *testing.T, s state) *driver {
	t.Helper()
	d := newDriver(t)
	switch s {
	case stIdle:
	case stTrying:
		d.acquire("a")
	case stPausing:
		d.acquire("a").no().broken().pause("a", 100*time.Millisecond) // and a session is asked for
	case stWaiting:
		d.acquire("a").no().session().no()
	case stHeld:
		d.acquire("a").yes()
	case stKept:
		d.acquire("a", minHold).yes().release("a")
	case stUnlocking:
		d.acquire("a").yes().release("a")
	case stSettling:
		d.server.op, d.m.inherited = opTry, true
		d.acquire("a")
	default:
		panic(fmt.Sprintf("no way to %v", s))
	}
	if d.m.state() != s {
		t.Fatalf("is %v, should be %v", d.m.state(), s)
	}
	return d
}
