package pg

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A function of the user's does not return, whatever becomes of its context. Nobody waits for it, and what it gives in the
// end is closed.
func TestW20_AFunctionThatIgnoresItsContext(t *testing.T) {
	all := maps.Clone(hooked)
	maps.Copy(all, poolHooks)
	maps.Copy(all, noticed)
	for name, source := range all {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			d := newDatabase(t)
			var block atomic.Bool
			resume := make(chan struct{})
			entered := make(chan struct{}, 100)
			c, first := probed(t, source(t, d.tcpDSN(), func() error {
				if block.Load() {
					entered <- struct{}{}
					<-resume
				}
				return nil
			}), Config{ConnectTimeout: 20 * time.Second})
			pids := d.backends(t)
			block.Store(true)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- opensOrFails(ctx, c) }()
			receive(t, entered)
			cancel()
			if err := receive(t, done); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			c.config.ConnectTimeout = 50 * time.Millisecond
			err := opensOrFails(context.Background(), c)
			if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
				!strings.Contains(err.Error(), "WithConnectTimeout") || !Transient(err) {
				t.Errorf("timed out: %v", err)
			}
			block.Store(false)
			close(resume) // the late ones come
			c.config.ConnectTimeout = 20 * time.Second
			if err := opensOrFails(within(t), c); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if !strings.Contains(name, "pgxpool") && !strings.Contains(name, "database/sql") { // pools may keep theirs
				eventually(t, "late connections are closed", func() bool { return d.backends(t) <= pids })
			}
			closeSocket(first.conn)
		})
	}
}

func TestW21_AFunctionThatPanicsOrEndsItsGoroutine(t *testing.T) {
	all := maps.Clone(hooked)
	maps.Copy(all, noticed)
	for name, source := range all {
		for how, fail := range map[string]func() error{
			"panic":        func() error { panic("the user's mistake") },
			"panic(error)": func() error { panic(errors.New("the user's mistake")) },
			"Goexit":       func() error { runtime.Goexit(); return nil },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				if !strings.Contains(name, "pgxpool") { // that pool loses a connection, and cannot be closed any more
					noLeaks(t)
				}
				d := newDatabase(t)
				var bad atomic.Bool
				c, first := probed(t, source(t, d.tcpDSN(), func() error {
					if bad.Load() {
						return fail()
					}
					return nil
				}), Config{})
				bad.Store(true)
				err := opensOrFails(within(t), c)
				if how == "Goexit" && (err == nil || !strings.Contains(err.Error(), "runtime.Goexit")) {
					t.Errorf("%v", err)
				}
				if how != "Goexit" && (err == nil || !strings.Contains(err.Error(), "the user's mistake") ||
					!strings.Contains(err.Error(), "w20_test.go")) {
					t.Errorf("without the value or the stack: %v", err)
				}
				if _, ok := asType[*ConnectError](err); !ok || !Transient(err) {
					t.Errorf("%T %v", err, err)
				}
				keepsTheSecret(t, err)
				bad.Store(false)
				if err := opensOrFails(within(t), c); err != nil {
					t.Errorf("the next attempt: %v", err)
				}
				closeSocket(first.conn)
				if name != "database/sql's AfterConnect" && !strings.Contains(name, "pgxpool") { // those pools have lost it
					d.isEmpty(t)
				}
			})
		}
	}
}

// W20. A connection that DialFunc gives when nobody waits for it any more is closed.
func TestW20_ADialThatReturnsLate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), connecting{}, true))
	config := parsed(t, "host=localhost")
	ours, theirs := net.Pipe()
	defer theirs.Close()
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		cancel()
		return ours, nil
	}
	d := newDialer(ctx, newAttempt(patience), &config.Config)
	if conn, err := d.Dial(ctx, "tcp", "localhost:5432"); conn != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", conn, err)
	}
	_ = ours.SetDeadline(time.Now()) // where it is open it says so by that
	if _, err := ours.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("it is open: %v", err)
	}
}
