package pg

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// modes is in which mode each lock is held in the database, and by how many.
func modes(t *testing.T, d database) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, row := range d.exec(t, "SELECT objid, mode, count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted GROUP BY 1, 2") {
		all[row[0]] += fmt.Sprint(row[1:])
	}
	return all
}

// Locks of both modes come and go in the same statements, and alone.
func TestStatementsOfBothModes(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p, other := openDSN(t, d.dsn(), quick()), openDSN(t, d.dsn(), quick())
	const n = 100
	want := make(map[string]string)
	callers := newCallers(span(1, n))
	for i, c := range callers {
		c.r.Shared = i%3 == 0
		want[fmt.Sprint(c.r.ID)] = "[ExclusiveLock 1]"
		if c.r.Shared {
			want[fmt.Sprint(c.r.ID)] = "[ShareLock 1]"
		}
	}
	for _, alone := range []bool{true, false} {
		answered(t, callers, alone, func(c *caller) { c.ask(p) })
		if got := modes(t, d); !maps.Equal(got, want) {
			t.Errorf("the server has %v, should have %v", got, want)
		}
		for _, shared := range []bool{true, false} { // who else would have them is told by their modes
			for _, mine := range callers {
				c := newCaller(mine.r.ID)
				c.r.Shared = shared
				a := c.try(t, other)
				if a.err != nil || a.ok != (shared && mine.r.Shared) {
					t.Fatalf("%d, held in shared mode: %v, asked for in shared mode: %v: %+v", mine.r.ID, mine.r.Shared, shared, a)
				}
				if a.ok {
					c.release(t, a.session)
				}
			}
		}
		answered(t, callers, alone, func(c *caller) { c.submit(c.r.Session, OpUnlock) })
		if left := slices.Collect(maps.Keys(modes(t, d))); len(left) > 0 {
			t.Fatalf("left at the server: %v", left)
		}
	}
}

// answered has each caller ask, alone or together with the others, and succeed.
func answered(t *testing.T, callers []*caller, alone bool, ask func(c *caller)) {
	t.Helper()
	succeeded := func(c *caller) {
		if a := c.await(t); !a.ok || a.err != nil {
			t.Fatalf("%d: %+v", c.r.ID, a)
		}
	}
	for _, c := range callers {
		if ask(c); alone {
			succeeded(c)
		}
	}
	for _, c := range callers {
		if !alone {
			succeeded(c)
		}
		c.quiet(t)
	}
}

// The question who holds a lock says whether somebody waits for it, and since when that is known. One that fails says nothing.
func TestWhoWaitsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		reader, writer := newCaller(1), newCaller(1)
		reader.r.Shared = true
		s := reader.take(t, p)
		own := writer.reserve(t, p, UseWaiting)
		ask := func() WhoAnswer {
			time.Sleep(askGap) //nolint:forbidigo // the bubble's clock; sooner it is not asked
			p.Who(1, reader)
			return receive(t, reader.told)
		}
		if a := ask(); a.Waiters || a.Holder == nil || a.Holder.PID != s.PID() || !a.Asked.Equal(time.Now()) {
			t.Errorf("nobody waits: %+v", a)
		}
		writer.submit(own, OpWait)
		synctest.Wait()
		if a := ask(); !a.Waiters || a.Holder == nil || !a.Asked.Equal(time.Now()) {
			t.Errorf("a writer waits: %+v", a)
		}
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "who" {
				q.answered, q.Code = true, "57014"
			}
		})
		if a := ask(); a != (WhoAnswer{}) {
			t.Errorf("the question failed: %+v", a)
		}
		f.onStatement(nil)
		reader.release(t, s)
		if a := writer.await(t); a.err == nil && a.ok {
			writer.release(t, own)
		}
		p.Return(own)
		reader.quiet(t)
		writer.quiet(t)
	})
}
