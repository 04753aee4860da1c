package manager_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// One key is one lock id, in every process, and in SQL.

// collisions are pairs of names with one FNV-1a id, as anybody can check.
var collisions = [][2]string{
	{"8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"},
	{"gMPflVXtwGDXbIhP73TX", "LtHf1prlU1bCeYZEdqWf"},
	{"pFuM83THhM-Qw8FI5FKo", ".jPx7rOtTDteKAwvfOEo"},
	{"7mohtcOFVz", "c1E51sSEyx"},
	{"6a5x-VbtXk", "f_2k7GG-4v"},
}

var idKeys = []string{"orders/42", "заказ/42", " ", "\x00", "a\xffb", "bc", "c"}

// idOptions are ways to compute ids, by name.
var idOptions = map[string][]manager.Option{
	"plain":           nil,
	"namespace a":     {manager.WithNamespace("a")},
	"namespace ab":    {manager.WithNamespace("ab")},
	"postgres":        {manager.WithHash(hashing.Postgres)},
	"postgres in a":   {manager.WithHash(hashing.Postgres), manager.WithNamespace("a")},
	"plain, by name ": {manager.WithHash(hashing.FNV1a)},
}

// idsOf is the ids of idKeys by every way.
func idsOf(open func(opts ...manager.Option) (*manager.Manager, error)) (map[string][]int64, error) {
	out := make(map[string][]int64)
	for name, opts := range idOptions {
		m, err := open(opts...)
		if err != nil {
			return nil, err
		}
		for _, key := range idKeys {
			out[name] = append(out[name], m.Key(key).ID())
		}
	}
	return out, nil
}

func TestIDsAreTheSameInEveryProcess(t *testing.T) {
	server(t)
	here, err := idsOf(func(opts ...manager.Option) (*manager.Manager, error) { return open(t, opts...), nil })
	if err != nil {
		t.Fatal(err)
	}
	child := childtest.Start(t, "ids", dsn(server(t)))
	var there map[string][]int64
	if err := json.Unmarshal([]byte(child.Line(t)), &there); err != nil {
		t.Fatal(err)
	}
	ends(t, child)
	if !maps.EqualFunc(here, there, func(a, b []int64) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("here  %v\nthere %v", here, there)
	}
	if here["plain"][0] != -6475162556055330337 { // FNV-1a of orders/42, by anybody's implementation
		t.Errorf("orders/42 is %d", here["plain"][0])
	}
	if fmt.Sprint(here["plain"]) != fmt.Sprint(here["plain, by name "]) {
		t.Error("FNV-1a is not the default")
	}
	bc, c := 5, 6
	if here["namespace a"][bc] == here["namespace ab"][c] {
		t.Error("(a, bc) is (ab, c)")
	}
}

func TestNamespacesDoNotMeet(t *testing.T) {
	billing, shipping, again := open(t, manager.WithNamespace("billing")), open(t, manager.WithNamespace("shipping")), open(t, manager.WithNamespace("billing"))
	one, two := acquire(t, billing, "orders/42"), acquire(t, shipping, "orders/42")
	if one.ID() == two.ID() || one.Key() != "orders/42" {
		t.Errorf("ids %d and %d, key %q", one.ID(), two.ID(), one.Key())
	}
	_, err := again.TryAcquire(bounded(t), "orders/42")
	wantIs(t, err, manager.ErrNotAcquired)
	release(t, one)
	release(t, two)
}

// SQL and this library exclude each other, either way round.
func TestSQLTakesTheSameLock(t *testing.T) {
	s := server(t)
	plain, postgres := open(t), open(t, manager.WithHash(hashing.Postgres))
	conn := connect(t, s)
	ctx := bounded(t)
	ask := func(query string, args ...any) (yes bool) {
		t.Helper()
		if err := conn.QueryRow(ctx, query, args...).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	for name, c := range map[string]struct {
		m    *manager.Manager
		expr string
		arg  any
	}{
		"by id":             {plain, "$1::int8", plain.Key("orders/42").ID()},
		"by hashtextended ": {postgres, "hashtextextended($1, 0)", "orders/42"},
	} {
		lock := acquire(t, c.m, "orders/42")
		if ask("SELECT pg_try_advisory_lock("+c.expr+")", c.arg) {
			t.Errorf("%s: SQL takes a lock that is held", name)
		}
		release(t, lock)

		if !ask("SELECT pg_try_advisory_lock("+c.expr+")", c.arg) {
			t.Errorf("%s: SQL does not get a free lock", name)
		}
		_, err := c.m.TryAcquire(ctx, "orders/42")
		wantIs(t, err, manager.ErrNotAcquired)
		waiting := acquiring(ctx, t, c.m, "orders/42")
		eventually(t, "it waits for SQL", func() bool { return queued(t, s, c.m.Key("orders/42").ID()) == 1 })
		if !ask("SELECT pg_advisory_unlock("+c.expr+")", c.arg) {
			t.Errorf("%s: SQL had not the lock", name)
		}
		got := ended(t, "the grant", waiting)
		if got.err != nil {
			t.Fatal(got.err)
		}
		release(t, got.lock)
	}
}

// Two keys with one id exclude each other for no need, and that is all: a session that locked one id twice would hold it
// for both.
func TestCollidingKeysExcludeEachOther(t *testing.T) {
	s, m, other := server(t), open(t), open(t)
	for i, pair := range collisions {
		one, two := m.Key(pair[0]), m.Key(pair[1])
		if one.ID() != two.ID() {
			t.Fatalf("%q and %q do not collide", pair[0], pair[1])
		}
		lock := acquire(t, m, pair[0])
		if got := m.Stats().Collisions; got != uint64(3*i) {
			t.Errorf("%d collisions, want %d", got, 3*i)
		}
		_, err := m.TryAcquire(bounded(t), pair[1])
		wantIs(t, err, manager.ErrNotAcquired)
		if e := failure(t, err); e.Key != pair[1] || e.Holder == nil || !e.Holder.Local {
			t.Errorf("%+v", e)
		}
		_, err = other.TryAcquire(bounded(t), pair[1])
		wantIs(t, err, manager.ErrNotAcquired)
		_, err = m.Acquire(bounded(t), pair[1], manager.WithWaitTimeout(5*time.Millisecond))
		wantIs(t, err, manager.ErrWaitTimeout)
		waiting := acquiring(bounded(t), t, m, pair[1])
		if got := held(t, s); len(got) != 1 {
			t.Errorf("held: %v", got)
		}
		release(t, lock)
		got := ended(t, "the grant to the other key", waiting)
		if got.err != nil {
			t.Fatal(got.err)
		}
		if got.lock.Key() != pair[1] || lock.Key() != pair[0] {
			t.Errorf("%q and %q", lock.Key(), got.lock.Key())
		}
		if got := m.Stats().Collisions; got != uint64(3*i+3) {
			t.Errorf("%d collisions, want %d", got, 3*i+3)
		}
		release(t, got.lock)
		if got := held(t, s); len(got) != 0 { // a lock that was stacked would still be there
			t.Errorf("held: %v", got)
		}
	}
	wantNoDeadlock(t, m)
}

// wantNoDeadlock holds both of a pair in turn from many goroutines, with a counter that the id guards.
func wantNoDeadlock(t *testing.T, m *manager.Manager) {
	t.Helper()
	counter, errs := 0, make(chan error)
	const n = 40
	for i := range n {
		go func() {
			errs <- m.Do(bounded(t), collisions[0][i%2], func(context.Context) error { counter++; return nil })
		}()
	}
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	if err := errors.Join(all...); err != nil || counter != n {
		t.Errorf("counted %d of %d: %v", counter, n, err)
	}
}
