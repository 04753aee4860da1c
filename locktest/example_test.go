package locktest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Mailer is a part of a program that uses locks.
type Mailer struct{ Locks manager.Locker }

func (m *Mailer) Send(ctx context.Context, letter string) error {
	return m.Locks.Do(ctx, "letters/"+letter, func(context.Context) error {
		fmt.Println("sent", letter)
		return nil
	}, manager.WithWaitTimeout(0))
}

func ExampleServer() {
	ctx := context.Background()
	server := locktest.NewServer()
	defer server.Close()
	locks, err := server.Open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = locks.Close(ctx) }()

	mailer := &Mailer{Locks: locks}
	fmt.Println(mailer.Send(ctx, "a"))

	release, _ := server.Hold(locks.Key("letters/b")) // another program has it
	if _, err := locks.TryAcquire(ctx, "letters/b"); errors.Is(err, manager.ErrNotAcquired) {
		fmt.Println("b is another's")
	}
	release()

	lock, _ := locks.Acquire(ctx, "letters/c")
	server.Lose(locks.Key("letters/c")) // the database restarts
	<-lock.Done()
	fmt.Println("lost:", errors.Is(lock.Err(), manager.ErrLost))
	// Output:
	// sent a
	// <nil>
	// b is another's
	// lost: true
}

// The suite on a server of one's own, in a test of one's own.
func ExampleConform() {
	_ = func(t *testing.T) { // TestOurDatabaseKeepsLocks
		locktest.Conform(t, func(ctx context.Context, opts ...manager.Option) (*manager.Manager, error) {
			return manager.Open(ctx, os.Getenv("DATABASE_URL"), opts...)
		})
	}
}
