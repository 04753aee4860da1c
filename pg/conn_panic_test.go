package pg

import (
	"context"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// badConn is a connection of a user's that fails at a call of his choice.
type badConn struct {
	net.Conn
	fail *atomic.Pointer[func()]
	at   string
}

// badError is an error that fails where somebody asks for its text.
type badError struct{ fail func() }

func (e badError) Error() string {
	e.fail()
	return "the text of a bad error"
}

// badChainError is an error that fails where somebody asks for what is behind it.
type badChainError struct{ fail func() }

func (badChainError) Error() string { return "an error with a bad chain" }

func (e badChainError) Unwrap() error {
	e.fail()
	return nil
}

func (c badConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	switch f := c.fail.Load(); {
	case f == nil:
	case c.at == "Read":
		(*f)()
	case c.at == "the error of Read":
		return 0, badError{*f}
	}
	return n, err
}

func (c badConn) Write(b []byte) (int, error) {
	if f := c.fail.Load(); f != nil && c.at == "Write" {
		(*f)()
	}
	return c.Conn.Write(b)
}

func (c badConn) SetWriteDeadline(at time.Time) error {
	if f := c.fail.Load(); f != nil && c.at == "the chain of an error of SetWriteDeadline" {
		return badChainError{*f}
	}
	return c.Conn.SetWriteDeadline(at)
}

func (c badConn) Close() error {
	defer func() { _ = c.Conn.Close() }()
	if f := c.fail.Load(); f != nil && c.at == "Close" {
		(*f)()
	}
	return nil
}

// badPool is a pool whose connections fail at that place once fail has what they are to do. Those that are made after that are good.
func badPool(t *testing.T, at string, c Config) (p *Pool, fail *atomic.Pointer[func()]) {
	t.Helper()
	fail = new(atomic.Pointer[func()])
	config := parsed(t, newDatabase(t).dsn())
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil || fail.Load() != nil {
			return conn, err
		}
		return badConn{conn, fail, at}, nil
	}
	return openPool(t, fromConfig(t, config), c), fail
}

// A connection that a DialFunc made and that panics, or ends its caller's goroutine, costs its session; so does one whose errors do that. Nothing of
// the user's runs where the loss is told: keepers ask for its text. (I11, W21)
func TestW21_AConnectionThatPanicsCostsItsSession(t *testing.T) {
	for name, f := range map[string]func(){
		"panic": func() { panic("the user's connection") }, "Goexit": runtime.Goexit, "panic whose text is a Goexit": func() { panic(badError{runtime.Goexit}) },
	} {
		for _, at := range []string{"Read", "Write", "the error of Read"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				p, fail := badPool(t, at, quick())
				holder, other := newCaller(1), newCaller(2)
				holder.take(t, p)
				fail.Store(&f)
				other.ask(p)
				if a := other.await(t); a.err == nil {
					t.Errorf("%+v on a connection that fails", a)
				}
				text := holder.lost(t, CauseConnection).err.Error()
				t.Log(text)
				if text == "" {
					t.Error("the loss has no text")
				}
			})
		}
		t.Run(name+" at the goodbye", func(t *testing.T) {
			p, fail := badPool(t, "Write", quick())
			c := newCaller(1)
			c.release(t, c.take(t, p))
			fail.Store(&f)
			closePool(t, p)
		})
		t.Run(name+" at Write of a solo session", func(t *testing.T) {
			p, fail := badPool(t, "Write", quick())
			for _, op := range []Op{OpTry, OpWait, OpUnlock} {
				c := newCaller(1)
				own := c.reserve(t, p, UseWaiting)
				if op == OpUnlock {
					if a := c.on(t, own, OpTry); !a.ok {
						t.Fatalf("%+v", a)
					}
				}
				fail.Store(&f)
				if a := c.on(t, own, op); a.ok || a.err == nil {
					t.Errorf("%v: %+v", op, a)
				}
				receive(t, ended(own))
				fail.Store(nil)
				p.Return(own)
				if len(c.answers) != 0 {
					t.Errorf("%v was answered twice", op)
				}
			}
		})
		t.Run(name+" at the chain of an error of SetWriteDeadline", func(t *testing.T) {
			const at = "the chain of an error of SetWriteDeadline"
			p, fail := badPool(t, at, Config{HealthTimeout: time.Second}) // so soon the deadline is renewed
			holder, other := newCaller(1), newCaller(2)
			s := holder.take(t, p)
			fail.Store(&f)
			for other.on(t, s, OpTry).ok {
				if a := other.on(t, s, OpUnlock); !a.ok {
					break
				}
				<-time.After(5 * time.Millisecond)
			}
			if l := receive(t, holder.losses); !slices.Contains([]Cause{CauseDoubt, CauseSilence}, causeOf(t, l.err)) { // or a write came late
				t.Error(l.err)
			}
			receive(t, ended(s))
		})
		t.Run(name+" at Close of a connection that is no session's", func(t *testing.T) {
			p, fail := badPool(t, "Close", quick())
			c, err := p.connector.open(within(t))
			if err != nil {
				t.Fatal(err)
			}
			fail.Store(&f)
			back := false
			done := make(chan struct{}) // closed by the goroutine at its end; received here; nothing is sent
			go func() {
				defer close(done)
				discard(c)
				back = true
			}()
			if receive(t, done); !back {
				t.Error("discard did not return")
			}
		})
	}
}
