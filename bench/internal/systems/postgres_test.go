package systems

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cirello.io/pglock"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// TestMain plays an etcd where a test has started this binary as one: what is tested is how a server is started and ended.
func TestMain(m *testing.M) {
	playEtcd()
	code := pgtest.Run(m)
	// A go-redis pool that could not connect goes on trying once a second for a while, closed or not.
	tries := goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
	if err := goleak.Find(tries); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func newDSN(t *testing.T) string {
	t.Helper()
	server, database := pgtest.NewDatabase(t)
	return server.DSNOf(database)
}

// on returns the lock systems on a kind of server.
func on(server string) (all []harness.System) {
	for _, s := range All(nil) {
		if s.Server.Name == server && s.Limit == nil {
			all = append(all, s)
		}
	}
	return all
}

func open(t *testing.T, s harness.System, e harness.Env) harness.Client {
	t.Helper()
	client, err := s.Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return client
}

// A system that did not exclude would be fast for nothing.
func TestEachSystemExcludes(t *testing.T) {
	for _, s := range on("PostgreSQL") {
		t.Run(s.Name, func(t *testing.T) {
			client := open(t, s, harness.Env{PostgresDSN: newDSN(t), Goroutines: 8})
			unguarded, most := 0, 0
			var inside int
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					for range 2 {
						held, err := client.Lock(t.Context(), "one")
						if err != nil {
							t.Error(err)
							return
						}
						inside++ // the race detector sees it where the lock does not exclude
						most = max(most, inside)
						unguarded++
						inside--
						// A heartbeat that a release of cirello's cuts short may have moved the row's version, which the
						// release then does not find. That is its own affair, and says nothing of who was inside.
						if err := held.Release(t.Context()); err != nil && !errors.Is(err, pglock.ErrLockAlreadyReleased) {
							t.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			if unguarded != 6 || most != 1 {
				t.Errorf("%d turns of 6, %d at once", unguarded, most)
			}
		})
	}
}

// Nothing that a round leaves may be in the way of the next one.
func TestEachSystemLeavesNothing(t *testing.T) {
	for _, s := range on("PostgreSQL") {
		t.Run(s.Name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			dsn := newDSN(t)
			for range 2 {
				client, err := s.Open(t.Context(), harness.Env{PostgresDSN: dsn, Goroutines: 8})
				if err != nil {
					t.Fatal(err)
				}
				held, err := client.Locker("key")(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := held.Release(t.Context()); err != nil && !errors.Is(err, pglock.ErrLockAlreadyReleased) {
					t.Fatal(err)
				}
				if err := client.Close(); err != nil {
					t.Fatal(err)
				}
			}
			goleak.VerifyNone(t, before)
		})
	}
}

func setup(t *testing.T) harness.Setup {
	t.Helper()
	return harness.Setup{Env: harness.Env{PostgresDSN: newDSN(t)}, ServerAddress: "127.0.0.1:1",
		Warmup: 20 * time.Millisecond, Duration: 50 * time.Millisecond, Meter: harness.Meter{Server: os.Getpid()}}
}

func TestLimitsMeasureDistinctKeysAlone(t *testing.T) {
	for _, s := range All(nil) {
		if s.Limit == nil {
			continue
		}
		for _, l := range []harness.Load{{Goroutines: 100, Keys: 1}, {Goroutines: 10, Keys: 100, Skew: 1.1}} {
			if _, err := s.Limit(t.Context(), harness.Setup{}, l); !errors.Is(err, harness.ErrNotApplicable) {
				t.Errorf("%s, %v: %v", s.Name, l, err)
			}
		}
		if err := (harness.Setup{System: s}).With(t.Context(), 1, nil); !errors.Is(err, harness.ErrNotApplicable) {
			t.Errorf("opening a limit: %v", err)
		}
	}
}

func TestBatchesOfAllSizesAreGranted(t *testing.T) {
	for _, n := range []int{1, 10, 1000} {
		r, err := limitBatch(t.Context(), setup(t), harness.Load{Goroutines: n, Keys: n})
		if err != nil || r.PairsPerSecond <= 0 || r.P50 <= 0 || r.P99 < r.P50 {
			t.Errorf("%d keys: %+v, %v", n, r, err)
		}
	}
}

func TestALockThatIsRefusedIsAnError(t *testing.T) {
	s := setup(t)
	held, err := open(t, harness.System{Open: openPgx}, s.Env).Lock(t.Context(), harness.Key(3))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := limitBatch(t.Context(), s, harness.Load{Goroutines: 10, Keys: 10}); err == nil {
		t.Errorf("somebody else has a key, and the limit says %+v", r)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPgbenchIsALimit(t *testing.T) {
	if r, err := limitPgbench(t.Context(), setup(t), harness.Load{Goroutines: 2, Keys: 2}); err != nil {
		if !errors.Is(err, errNoPgbench) {
			t.Error(err)
		}
	} else if r.PairsPerSecond <= 0 || r.Connections != 2 {
		t.Errorf("got %+v", r)
	}
}

// watched is a lock of a library that tells of a loss in one of the ways that there have been.
type (
	byDone  struct{ err error }
	byLost  struct{ err error }
	silence struct{}
)

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (byDone) Release(context.Context) error  { return nil }
func (byDone) Done() <-chan struct{}          { return closed() }
func (l byDone) Err() error                   { return l.err }
func (byLost) Release(context.Context) error  { return nil }
func (byLost) Lost() <-chan struct{}          { return closed() }
func (l byLost) Err() error                   { return l.err }
func (silence) Release(context.Context) error { return nil }

func TestALossIsHeardByWhateverTheLockHas(t *testing.T) {
	lost := fmt.Errorf("so it is: %w", manager.ErrLost)
	for _, c := range []struct {
		held harness.Held
		want string
	}{
		{byDone{lost}, ""}, {byLost{lost}, ""}, {byDone{context.Canceled}, "something else"}, {byLost{context.Canceled}, "something else"},
		{silence{}, "no channel"},
	} {
		done, err := lockkeeperLoss(c.held)
		<-done
		switch told := err(); {
		case c.want == "" && told != nil, c.want != "" && (told == nil || !strings.Contains(told.Error(), c.want)):
			t.Errorf("%T: got %v, want %q", c.held, told, c.want)
		}
	}
}
