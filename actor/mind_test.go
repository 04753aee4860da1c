package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// mind drives a machine by hand: it is the keeper without goroutine, mailbox and store. Claims have one-letter names,
// and effects are told as words: "grant a refuse b timer".
type mind struct {
	t      *testing.T
	m      machine
	now    time.Time
	trust  time.Time
	claims map[string]*Claim
	did    string
	timer  time.Duration // of the last fxTimer, from now
}

func newMind(t *testing.T) *mind {
	t.Helper()
	now := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	return &mind{t: t, now: now, trust: now.Add(time.Hour), claims: map[string]*Claim{},
		m: machine{limits: &Limits{MaxWaiters: 3, QuantumTime: 20 * time.Millisecond, QuantumGrants: 3}}}
}

func (d *mind) step(e event) *mind {
	e.now, e.trust = d.now, d.trust
	var words []string
	for _, fx := range d.m.step(&e) {
		word := fx.kind.String()
		if fx.claim != nil {
			word += " " + fx.claim.Name
		}
		words = append(words, word)
		switch fx.kind {
		case fxGrant:
			fx.claim.answer(nil)
		case fxRefuse:
			fx.claim.answer(fx.err)
		case fxOver:
			fx.claim.finishHold(fx.err)
		case fxSettle:
			fx.claim.settle(fx.err)
		case fxTimer:
			d.timer = d.m.due().Sub(d.now)
		}
	}
	d.did = strings.Join(words, " ")
	return d
}

// expect checks what the last step did and where it led.
func (d *mind) expect(effects string, s state) *mind {
	d.t.Helper()
	if d.did != effects || d.m.state != s {
		d.t.Fatalf("did %q and is %v; should do %q and be %v", d.did, d.m.state, effects, s)
	}
	return d
}

func (d *mind) wakesAfter(after time.Duration) *mind {
	d.t.Helper()
	if d.timer != after {
		d.t.Fatalf("wants to be woken after %v, should be %v", d.timer, after)
	}
	return d
}

func (d *mind) passes(span time.Duration) *mind { d.now = d.now.Add(span); return d }

func (d *mind) acquire(name string, change ...func(*Terms)) *mind {
	c := &Claim{}
	c.Terms = key(1, change...)
	c.Init(nil)
	c.Name, d.claims[name] = name, c
	return d.step(event{kind: evAcquire, claim: c})
}

// cancel marks a claim as ended; the machine has yet to be told.
func (d *mind) cancel(name string, cause error) *mind {
	d.claims[name].ending.Store(&endCause{cause})
	return d
}

func (d *mind) end(name string, cause error) *mind {
	d.cancel(name, cause)
	return d.step(event{kind: evEnd, claim: d.claims[name]})
}

func (d *mind) release(name string) *mind  { return d.end(name, ErrReleased) }
func (d *mind) withdraw(name string) *mind { return d.end(name, context.Canceled) }

func (d *mind) answer(a Answer) *mind   { return d.step(event{kind: evAnswered, answer: a}) }
func (d *mind) yes() *mind              { return d.answer(Answer{OK: true}) }
func (d *mind) no() *mind               { return d.answer(Answer{}) }
func (d *mind) broken() *mind           { return d.answer(Answer{Err: errBroken, Transient: true}) }
func (d *mind) refused() *mind          { return d.answer(Answer{Err: errBroken}) }
func (d *mind) reserved(a Answer) *mind { return d.step(event{kind: evReserved, answer: a}) }
func (d *mind) seat() *mind             { return d.reserved(Answer{OK: true}) }
func (d *mind) noSeat() *mind           { return d.reserved(Answer{Err: errBroken, Transient: true}) }
func (d *mind) withdrawn() *mind        { return d.reserved(Answer{Err: errWithdrawn, Transient: true}) }
func (d *mind) lose() *mind             { return d.step(event{kind: evLost, gone: errBroken}) }
func (d *mind) tick() *mind             { return d.step(event{kind: evTimer}) }
func (d *mind) stop() *mind             { return d.step(event{kind: evStop}) }
func (d *mind) told(h *Holder) *mind    { return d.step(event{kind: evTold, holder: h}) }

// refusal checks why a claim was refused.
func (d *mind) refusal(name string, reasons ...error) *Claim {
	d.t.Helper()
	c := d.claims[name]
	for _, reason := range reasons {
		if !c.answered || !errors.Is(c.Err, reason) {
			d.t.Fatalf("%s: answered %v with %v, should be %v", name, c.answered, c.Err, reason)
		}
	}
	return c
}

func (d *mind) count(name string, attempts, failures int) *mind {
	d.t.Helper()
	if c := d.claims[name]; c.Attempts != attempts || len(c.Failures) != failures {
		d.t.Fatalf("%s has %d attempts and %d failures, should be %d and %d", name, c.Attempts, len(c.Failures),
			attempts, failures)
	}
	return d
}

// in brings a machine into a state, with one claim "a" that it is all about; none in stIdle, and in stSettling a claim
// that came after the restart.
func in(t *testing.T, s state) *mind {
	t.Helper()
	d := newMind(t)
	switch s {
	case stIdle:
	case stTrying:
		d.acquire("a")
	case stPausing:
		d.acquire("a").no().broken() // and a session is asked for
	case stWaiting:
		d.acquire("a").no().seat().no()
	case stHeld:
		d.acquire("a").yes()
	case stUnlocking:
		d.acquire("a").yes().release("a")
	case stSettling:
		d.m.state, d.m.settling = stSettling, true
		d.acquire("a")
	default:
		panic(fmt.Sprintf("no way to %v", s))
	}
	if d.m.state != s {
		t.Fatalf("is %v, should be %v", d.m.state, s)
	}
	return d
}
