package manager_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/lockkeeper/lockkeeper/manager"
)

// tellsPanic wants the error to have the panic's value, and it or the log to have the stack.
func tellsPanic(t *testing.T, tr *trap, what deed, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	if what != panics {
		return
	}
	if !strings.Contains(err.Error(), panicText) {
		t.Errorf("the panic's value is missing: %v", err)
	}
	told := func() bool { return strings.Contains(err.Error()+strings.Join(tr.logged(), "\n"), panicFrame) }
	if !pollFor(soon, told) {
		t.Errorf("the panic's stack is in neither the error nor the log: %v", err)
	}
}

// W21. A function of the user's panics, or calls Goexit, when the first session is opened: New gives an error, and another
// New succeeds.
func TestW21FirstSession(t *testing.T) {
	s := server(t)
	for _, where := range placesOfConnect {
		for _, what := range []deed{panics, exits} {
			t.Run(string(where)+" "+string(what), func(t *testing.T) {
				leakFree(t, s)
				tr := newTrap(t)
				for nth := range 4 { // Open makes several connections
					tr.setAfter(where, what, nth)
					got, ok := inTime(t, "New returns", fateOf(func() (*manager.Manager, error) {
						return manager.New(bounded(t), tr.source(t, s), tr.options()...)
					}))
					switch {
					case !ok:
						return
					case got.panicked != nil || got.exited:
						t.Fatalf("it went through New: %v", got)
					case got.err == nil: // fewer connections than that were made
						closeNow(t, got.value)
						if nth == 0 {
							t.Error("opened all the same")
						}
					default:
						tellsPanic(t, tr, what, got.err)
					}
				}
				tr.unset()
				m := tr.open(t, s)
				takeAndRelease(t, m, "k")
			})
		}
	}
}

// setAfter is set, after so many calls of the place that work.
func (tr *trap) setAfter(p place, d deed, calls int) {
	tr.set(p, d)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.skip = calls
}

// W21. The same when a later session is opened, shared or dedicated: an error of that attempt, and the next attempt is a
// fresh one. Neighbours do not notice, and Close ends.
func TestW21LaterSession(t *testing.T) {
	s := server(t)
	for _, where := range placesOfConnect {
		for _, what := range []deed{panics, exits} {
			t.Run(string(where)+" "+string(what), func(t *testing.T) {
				tr := newTrap(t)
				m := tr.open(t, s)
				mine := acquire(t, m, "mine", plainRetry)
				one := manager.WithRetryPolicy(manager.LinearRetry(1, time.Millisecond))
				own := manager.WithDedicatedSession()

				tr.set(where, what)
				tellsPanic(t, tr, what, prompt(t, "Acquire", func(ctx context.Context) error {
					_, err := m.Acquire(ctx, "k", one, own)
					return err
				}))
				tellsPanic(t, tr, what, prompt(t, "TryAcquire", func(ctx context.Context) error {
					_, err := m.TryAcquire(ctx, "k", one, own)
					return err
				}))
				tr.unset()
				dedicated := acquire(t, m, "k", plainRetry, own) // so that no session lies idle

				entered := tr.setTimes(where, what, 2)
				takeAndRelease(t, m, "k2", plainRetry, own) // by its third attempt
				if !isEnded(entered) {
					t.Error("no session was opened")
				}
				for _, lock := range []*manager.Lock{mine, dedicated} {
					if err := lock.Err(); err != nil {
						t.Errorf("a neighbour's lock %s: %v", lock.Key(), err)
					}
					if err := prompt(t, "release", lock.Release); err != nil {
						t.Error(err)
					}
				}

				terminateAll(t, s, m) // now it is a shared session that has to be opened
				tr.set(where, what)
				tellsPanic(t, tr, what, prompt(t, "Acquire", func(ctx context.Context) error {
					_, err := m.Acquire(ctx, "k4", one)
					return err
				}))
				tr.unset()
				takeAndRelease(t, m, "k4", plainRetry)
				closesNow(t, m)
			})
		}
	}
}

// W21. The same with the functions of a database/sql pool, which run where the pool is asked.
func TestW21DB(t *testing.T) {
	s := server(t)
	for _, where := range []place{inDial, inAfter} {
		for _, what := range []deed{panics, exits} {
			t.Run(string(where)+" "+string(what), func(t *testing.T) {
				leakFree(t, s)
				// A connection whose AfterConnect does not return is closed by nobody but the collector.
				t.Cleanup(func() {
					eventually(t, "the collector has closed it", func() bool {
						runtime.GC()
						return connections(t, s) == 0
					})
				})
				config, err := pgx.ParseConfig(dsn(s))
				if err != nil {
					t.Fatal(err)
				}
				tr := newTrap(t)
				db := stdlib.OpenDB(*config,
					stdlib.OptionBeforeConnect(func(context.Context, *pgx.ConnConfig) error { tr.at(inDial); return nil }),
					stdlib.OptionAfterConnect(func(context.Context, *pgx.Conn) error { tr.at(inAfter); return nil }))
				t.Cleanup(func() {
					if err := db.Close(); err != nil {
						t.Error(err)
					}
				})
				source, err := manager.FromDB(db)
				if err != nil {
					t.Fatal(err)
				}
				tr.set(where, what)
				got, ok := inTime(t, "New returns", fateOf(func() (*manager.Manager, error) {
					return manager.New(bounded(t), source, tr.options()...)
				}))
				if !ok || got.panicked != nil || got.exited {
					t.Fatalf("it went through New: %v", got)
				}
				tellsPanic(t, tr, what, got.err)
				tr.unset()
				m := openFrom(t, s, source, tr.options()...)
				tr.setTimes(where, what, 1)
				takeAndRelease(t, m, "k", plainRetry, manager.WithDedicatedSession())
				closesNow(t, m)
			})
		}
	}
}
