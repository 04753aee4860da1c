package pg

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
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

// badPool is a pool whose connections fail at that place once fail has what they are to do. Those that are made after that are good.
func badPool(t *testing.T, at string) (p *Pool, fail *atomic.Pointer[func()]) {
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
	return openPool(t, fromConfig(t, config), Config{}), fail
}

// A connection that a DialFunc made and that panics, or ends its caller's goroutine, costs its session; so does one whose errors do that. Nothing of
// the user's runs where the loss is told: keepers ask for its text. (I11, W21)
func TestW21_AConnectionThatPanicsCostsItsSession(t *testing.T) {
	for name, f := range map[string]func(){"panic": func() { panic("the user's connection") }, "Goexit": runtime.Goexit} {
		for _, at := range []string{"Read", "Write", "the error of Read"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				p, fail := badPool(t, at)
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
			p, fail := badPool(t, "Write")
			c := newCaller(1)
			c.release(t, c.take(t, p))
			fail.Store(&f)
			closePool(t, p)
		})
		t.Run(name+" at Write of a solo session", func(t *testing.T) {
			p, fail := badPool(t, "Write")
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
	}
}
