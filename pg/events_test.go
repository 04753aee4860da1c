package pg

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// What users can see: who holds a lock, what happened to the sessions, and the counters.

func TestWhoHoldsALock(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config := quick()
	config.ApplicationName = "the holder"
	for kind, dsn := range map[string]string{"unix": d.dsn(), "tcp": d.tcpDSN()} {
		p, other := openDSN(t, dsn, config), openDSN(t, d.dsn(), quick())
		began := time.Now()
		newCaller(1).take(t, other) // so that it has a session to ask on
		for _, id := range []int64{7, -7, 1 << 62, -1 << 63, 1<<32 + 5} {
			holder, asker := newCaller(id), newCaller(id)
			ask := func() *Holder { return asker.who(t, other) }
			if h := ask(); h != nil {
				t.Errorf("nobody holds %d: %+v", id, h)
			}
			s := holder.take(t, p)
			h := ask()
			if h == nil || h.PID != s.PID() || h.ApplicationName != "the holder" || (h.ClientAddr == "") != (kind == "unix") {
				t.Fatalf("%d is held by %d: %+v", id, s.PID(), h)
			}
			if early, late := began.Add(-time.Minute), time.Now().Add(time.Minute); h.SessionSince.Before(early) || h.SessionSince.After(late) {
				t.Errorf("the session began at %v", h.SessionSince)
			}
			holder.release(t, s)
		}
		// The same number in the other key space, of two integers, is another lock.
		d.exec(t, "SELECT pg_advisory_lock(0, 99)")
		if h := newCaller(99).who(t, other); h != nil {
			t.Errorf("%+v", h)
		}
		d.exec(t, "SELECT pg_advisory_unlock(0, 99)")
		closePool(t, p)
		closePool(t, other)
	}
}

// A10. The holder's address is one, without the length of a network.
func TestA10_TheHoldersAddress(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p, other := openDSN(t, d.tcpDSN(), quick()), openDSN(t, d.dsn(), quick())
	newCaller(2).take(t, other) // so that it has a session to ask on
	newCaller(1).take(t, p)
	h := newCaller(1).who(t, other)
	if h == nil {
		t.Fatal("nobody is said to hold it")
	}
	if address, err := netip.ParseAddr(h.ClientAddr); err != nil || !address.IsLoopback() {
		t.Errorf("%q: %v", h.ClientAddr, err)
	}
}

func TestEventsAndCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var mu sync.Mutex
		var events []string
		p := openPool(t, f.source(t), Config{Event: func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprintf("%s %v pid=%v locks=%d %s", e.Kind, e.Use, e.PID > 0, e.Locks, e.Cause))
		}})
		callers := newCallers(span(1, 3))
		var s Session
		for _, c := range callers {
			s = c.take(t, p)
		}
		f.of(t, s).conn.Close()
		for _, c := range callers {
			c.lost(t, CauseConnection)
		}
		receive(t, ended(s))
		f.change(func() { f.turnAway = "53300" })
		if a := callers[0].try(t, p); sqlState(a.err) != "53300" {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		want := []string{"session opened shared pid=true locks=0 ", "session lost shared pid=true locks=3 connection broken",
			"session could not be opened shared pid=false locks=0 "}
		if !slices.Equal(events, want) {
			t.Errorf("%q", events)
		}
		stats := p.Stats()
		if stats.Losses[CauseConnection] != 3 || len(stats.Losses) != 1 || stats.Operations != 3 || stats.RoundTrip.Count != 3 {
			t.Errorf("%+v", stats)
		}
	})
}

// A server may say certain things at any time. Anything else that nobody asked for means that we and it do not speak of
// the same statement any more.
func TestMessagesThatNobodyAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		message pgproto3.BackendMessage
		cause   Cause // of the loss, where there is one
	}{
		"a notice":       {&pgproto3.NoticeResponse{Severity: "WARNING", Message: "hear, hear"}, ""},
		"a parameter":    {&pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}, ""},
		"a notification": {&pgproto3.NotificationResponse{Channel: "a", Payload: "b"}, ""},
		"a row":          {&pgproto3.DataRow{Values: [][]byte{{1}}}, CauseDoubt},
		"an end":         {&pgproto3.ReadyForQuery{TxStatus: 'I'}, CauseDoubt},
		"an error":       {&pgproto3.ErrorResponse{Severity: "ERROR", Code: "XX000"}, CauseDoubt},
		"a last word":    {&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01"}, CauseServer},
		"a panic":        {&pgproto3.ErrorResponse{Severity: "PANIK", SeverityUnlocalized: "PANIC", Code: "XX000"}, CauseServer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				holder, other := newCaller(1), newCaller(2)
				s := holder.take(t, p)
				if err := f.of(t, s).say(c.message); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // told at once, not when something is next asked
				if c.cause != "" {
					holder.lost(t, c.cause)
					return
				}
				holder.quiet(t)
				if next := other.take(t, p); next != s {
					t.Error("the session was given up")
				}
				holder.release(t, s)
			})
		})
	}
}

// There is room for no more connections: what there is goes on, and the next one may fit again.
func TestNoRoomAtTheServer(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := d.newRole(t, "crowded")
	p := openDSN(t, dsn, patient())
	holder, waiter := newCaller(1), newCaller(1)
	s := holder.take(t, p)
	d.exec(t, "ALTER ROLE crowded CONNECTION LIMIT 1")
	for _, use := range []Use{UseWaiting, UseDedicated} {
		p.Reserve(&Reservation{Client: waiter, Use: use})
		if got := receive(t, waiter.reserved); sqlState(got.err) != "53300" || !Transient(got.err) ||
			!errors.Is(got.err, ErrTooManyConnections) ||
			!strings.Contains(got.err.Error(), "too many connections") {
			t.Errorf("%+v", got)
		}
	}
	beside := newCaller(2)
	beside.release(t, beside.take(t, p))
	d.exec(t, "ALTER ROLE crowded CONNECTION LIMIT -1")
	own := waiter.reserve(t, p, UseWaiting)
	waiter.submit(own, OpWait)
	holder.release(t, s)
	if a := waiter.await(t); !a.ok {
		t.Errorf("%+v", a)
	}
}
