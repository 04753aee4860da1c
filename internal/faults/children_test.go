package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/forward"
	"github.com/lockkeeper/lockkeeper/manager"
)

// parts are what other processes play that a test starts.
var parts = childtest.Parts{"middlebox": middlebox, "look": look}

// longTimeout is a session timeout that no test waits for.
const longTimeout = time.Hour

// middlebox carries bytes between an address of its own, which it tells, and another.
func middlebox(args []string) error {
	childtest.EndWithInput()
	f, err := forward.Start(context.Background(), "127.0.0.1:0", "tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, f.Addr())
	select {}
}

// look holds a lock and looks at it without a pause. Where two looks are further apart than the lease, the process was
// stopped in between: it says what the first look after that saw.
func look(args []string) error {
	childtest.EndWithInput()
	ctx := context.Background()
	opts := short.options()
	if len(args) > 3 { // the end of the connection alone frees the lock soon
		opts = append(opts, manager.WithSessionTimeout(longTimeout))
	}
	m, err := manager.Open(ctx, args[0], way{inTransaction: args[2] == "true"}.with(opts)...)
	if err != nil {
		return err
	}
	for {
		lock, err := m.Acquire(ctx, args[1], manager.WithRetryPolicy(patient()))
		if err != nil {
			return err
		}
		held := lock.Context()
		last := time.Now() // before the word, since it may be stopped in the middle of that
		fmt.Fprintln(os.Stdout, "held")
		for {
			seen := errors.Join(lock.Err(), held.Err())
			now := time.Now()
			if gap := now.Sub(last); gap > short.interval+short.timeout {
				if seen == nil { // it may have been stopped after it had looked
					seen = errors.Join(lock.Err(), held.Err())
				}
				fmt.Fprintln(os.Stdout, "woken", seen != nil)
			} else if seen != nil {
				fmt.Fprintln(os.Stdout, "lost")
			}
			if last = now; seen != nil {
				break
			}
		}
		if !errors.Is(lock.Err(), manager.ErrLost) {
			return lock.Err()
		}
	}
}
