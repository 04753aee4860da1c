package manager_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// W12. The session has ended just before a try of a free key. The try is made once more on a new session, inside the same
// call: it is never refused.
func TestW12TryAfterTheSessionEnded(t *testing.T) {
	s := server(t)
	type call func(ctx context.Context, m *manager.Manager, key string) (*manager.Lock, error)
	try := func(opts ...manager.AcquireOption) call {
		return func(ctx context.Context, m *manager.Manager, key string) (*manager.Lock, error) {
			return m.TryAcquire(ctx, key, opts...)
		}
	}
	calls := map[string]call{
		"TryAcquire": try(), "dedicated": try(manager.WithDedicatedSession()),
		"Key": func(ctx context.Context, m *manager.Manager, key string) (*manager.Lock, error) {
			return m.Key(key).TryAcquire(ctx)
		},
	}
	ends := []struct {
		when, end string
		rounds    int
	}{{"at once", "pg_terminate_backend(pid)", 40}}
	if hasWaitingTerminate(t, s) { // which returns when the backend is gone: the client may not know yet
		ends = append(ends, ends[0])
		ends[1].when, ends[1].end, ends[1].rounds = "after the end", "pg_terminate_backend(pid, 10000)", 5
	}
	for name, try := range calls {
		for _, e := range ends {
			t.Run(name+", "+e.when, func(t *testing.T) {
				m := open(t)
				refused := 0
				for i := range e.rounds {
					for _, key := range []string{"same key", fmt.Sprint("another key ", i)} {
						if lock, err := try(bounded(t), m, key); err != nil {
							refused++
							t.Logf("round %d: %v", i, err)
						} else {
							release(t, lock)
						}
						query(t, s, "SELECT "+e.end+" FROM pg_stat_activity WHERE application_name LIKE 'lk %'")
					}
				}
				if refused > 0 {
					t.Errorf("%d of %d tries of a free key were refused", refused, 2*e.rounds)
				}
			})
		}
	}
}

// hasWaitingTerminate reports whether the server can be asked to return when the backend is gone, as 14 and later can.
func hasWaitingTerminate(t *testing.T, s *pgserver.Server) bool {
	t.Helper()
	return len(query(t, s, "SELECT 1 FROM pg_proc WHERE proname = 'pg_terminate_backend' AND pronargs = 2")) > 0
}

// W12. A process is stopped between two calls for longer than the server keeps its sessions, as a cloud function is. Its
// next try is granted.
func TestW12FrozenBetweenTwoCalls(t *testing.T) {
	s := server(t)
	leakFree(t, s)
	needSessionTimeout(t, s)
	child := childtest.Start(t, "try", dsn(s))
	expect(t, child, "ready")
	refused := 0
	const rounds = 12
	for range rounds {
		child.Say(t, "try")
		if got := child.Line(t); got != "granted" { // and it has sessions now
			t.Errorf("before it was stopped: %s", got)
		}
		child.Freeze(t)
		eventually(t, "the server has ended the sessions", func() bool { return connections(t, s) == 0 })
		child.Say(t, "try") // it is what the child finds first when it wakes
		child.Wake(t)
		if got := child.Line(t); got != "granted" {
			refused++
			t.Log(got)
		}
	}
	if refused > 0 {
		t.Errorf("%d of %d tries of a free key were refused", refused, rounds)
	}
	ends(t, child)
}

// childTry tries a free key for each line that it is sent, releases it, and says how that went.
func childTry(args []string) error {
	ctx := context.Background()
	m, err := manager.Open(ctx, args[0], manager.WithHealth(300*time.Millisecond, 300*time.Millisecond),
		manager.WithSessionTimeout(1200*time.Millisecond))
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	tries := 0
	for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
		tries++
		var lock *manager.Lock
		for slow := true; slow; { // where a silence of 300 ms has ended the new session as well: this machine was too slow
			began := time.Now()
			lock, err = m.TryAcquire(ctx, fmt.Sprint("free ", tries))
			slow = err != nil && time.Since(began) > 250*time.Millisecond
		}
		if err == nil {
			err = lock.Release(ctx)
			if errors.Is(err, manager.ErrLost) || errors.Is(err, manager.ErrReleaseUnknown) {
				err = nil // it was granted, and this process was too slow for its health times
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stdout, err)
			continue
		}
		fmt.Fprintln(os.Stdout, "granted")
	}
	return m.Close(ctx)
}
