package manager_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// parts are what other processes play that a test starts. The first argument is the database.
var parts = childtest.Parts{"ids": childIDs, "count": childCount, "hold": childHold, "hold pooled": childHoldPooled, "recycle": childRecycle,
	"try": childTry, "once": childOnce, "member": childMember, "ordered": childOrdered, "stale": childStale, "fence": childFence}

// ends lets a child end by itself. It has said all that it had to say.
func ends(t *testing.T, c *childtest.Child) {
	t.Helper()
	for _, line := range c.End(t) {
		t.Errorf("the child says more: %s", line)
	}
}

// childIDs prints what ids it computes.
func childIDs(args []string) error {
	ids, err := idsOf(func(opts ...manager.Option) (*manager.Manager, error) {
		return manager.Open(context.Background(), args[0], opts...)
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(ids)
}

// childCount adds one to a counter in the database n times from each of a few goroutines: it reads, then writes, and
// nothing but the lock keeps another from doing so in between.
func childCount(args []string) error {
	dsn := args[0]
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := manager.Open(ctx, dsn)
	if err != nil {
		return err
	}
	const workers = 4
	errs := make(chan error, workers)
	for range workers {
		go func() { errs <- countUp(ctx, m, dsn, n) }()
	}
	for range workers {
		err = errors.Join(err, <-errs)
	}
	return errors.Join(err, m.Close(ctx))
}

func countUp(ctx context.Context, m *manager.Manager, dsn string, n int) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	for range n {
		err = errors.Join(err, m.Do(ctx, "counter", func(ctx context.Context) error {
			var value int
			if err := conn.QueryRow(ctx, "SELECT value FROM lk_counter").Scan(&value); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, "UPDATE lk_counter SET value = $1", value+1)
			return err
		}))
	}
	return errors.Join(err, conn.Close(ctx))
}

// childHold takes a lock, says so, and with each line that it is sent says what it thinks of it.
func childHold(args []string) error {
	m, err := manager.Open(context.Background(), args[0], manager.WithHealth(500*time.Millisecond, 3*time.Second),
		manager.WithSessionTimeout(4500*time.Millisecond))
	if err != nil {
		return err
	}
	return holdAndTell(m, args[1])
}

func holdAndTell(m *manager.Manager, key string) error {
	ctx := context.Background()
	lock, err := m.Acquire(ctx, key)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "held")
	for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
		// Nothing comes before this: it is what a process sees first when it is woken.
		switch err := lock.Err(); {
		case err == nil:
			fmt.Fprintln(os.Stdout, "held")
		case errors.Is(err, manager.ErrLost):
			fmt.Fprintln(os.Stdout, "lost")
		default:
			fmt.Fprintln(os.Stdout, err)
		}
	}
	return m.Close(ctx)
}
