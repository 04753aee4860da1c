package manager_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Once is for a job that each replica starts by its own clock: one of them runs it.
func ExampleManager_Once() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	report := func(context.Context) error {
		fmt.Println("writing the report of the year")
		return nil
	}
	for range 2 { // the second call could come from another process
		err := m.Once(ctx, "report", 365*24*time.Hour, report)
		fmt.Println(errors.Is(err, manager.ErrAlreadyRun))
	}
	// Output:
	// writing the report of the year
	// false
	// true
}

// WithMinHold keeps short work from being done again by those who come a little later.
func ExampleWithMinHold() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	lock, err := m.Acquire(ctx, "reminder/42", manager.WithMinHold(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(lock.Release(ctx)) // returns at once
	_, err = m.TryAcquire(ctx, "reminder/42")
	fmt.Println(errors.Is(err, manager.ErrNotAcquired))
	// Output:
	// <nil>
	// true
}

// Elect runs a function in one process at a time, for as long as that process leads.
func ExampleManager_Elect() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	leader, terms := m.Leader("scheduler"), 0
	err = m.Elect(ctx, "scheduler", func(ctx context.Context) error {
		terms++
		fmt.Println("term", terms, "leading:", leader.IsLeader(ctx) == nil)
		if terms == 2 {
			return nil // which ends the campaign
		}
		go func() { _ = leader.Resign(ctx) }() // as an operator would, before a deploy
		<-ctx.Done()                           // a loss of the session, or the end of ctx outside, would end it too
		fmt.Println(context.Cause(ctx))
		return nil // the next term may come
	})
	fmt.Println(err, leader.IsLeader(ctx) == nil)
	// Output:
	// term 1 leading: true
	// the leader has resigned
	// term 2 leading: true
	// <nil> false
}

// AcquireTx takes a lock that is a transaction's: it works behind a pooler in transaction mode, and ends with the work.
func ExampleAcquireTx() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)

	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := manager.AcquireTx(ctx, tx, "orders/42", manager.WithWaitTimeout(time.Second)); err != nil {
			return err // of a bounded wait; the transaction could go on all the same
		}
		fmt.Println("paying, and nobody else is")
		_, err := tx.Exec(ctx, "SELECT 'the work'")
		return err
	})
	fmt.Println(err)
	// Output:
	// paying, and nobody else is
	// <nil>
}

// AcquireAll takes several keys' locks as one: all of them or none, and without a deadlock.
func ExampleManager_AcquireAll() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	accounts, err := m.AcquireAll(ctx, "account/7", "account/42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("moving money between", len(accounts.Keys()), "accounts:", accounts.Err())
	fmt.Println(accounts.Release(ctx))
	// Output:
	// moving money between 2 accounts: <nil>
	// <nil>
}

// DoShared runs beside others of its kind, and never beside a Do of the same key.
func ExampleManager_DoShared() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	err = m.DoShared(ctx, "catalogue", func(context.Context) error {
		reader, err := m.TryAcquireShared(ctx, "catalogue") // somebody else's context
		if err != nil {
			return err
		}
		fmt.Println("two read")
		_, err = m.TryAcquire(ctx, "catalogue")
		fmt.Println("nobody writes meanwhile:", errors.Is(err, manager.ErrNotAcquired))
		return reader.Release(ctx)
	})
	fmt.Println(err)
	// Output:
	// two read
	// nobody writes meanwhile: true
	// <nil>
}

// DoSlot runs in at most n callers at one time, over all processes.
func ExampleManager_DoSlot() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	err = m.DoSlot(ctx, "render", 2, func(ctx context.Context) error {
		number, _ := manager.SlotOf(ctx)
		fmt.Println("on one of two:", number == 0 || number == 1)
		return nil
	})
	fmt.Println(err)
	// Output:
	// on one of two: true
	// <nil>
}

// Locks lists who holds what, in all processes.
func ExampleManager_Locks() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"), manager.WithApplicationName("shop"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	err = m.Do(ctx, "orders/42", func(ctx context.Context) error {
		locks, err := m.Locks(ctx)
		for _, l := range locks {
			if l.Key == "orders/42" { // others, of programs that use the same database, may be there
				fmt.Println(l.Key, "is held by", l.Holders[0].ApplicationName, "and waited for by", len(l.Waiters))
			}
		}
		return err
	})
	fmt.Println(err)
	// Output:
	// orders/42 is held by shop and waited for by 0
	// <nil>
}

// Callers that wait for each other in a circle: one is told, and the others go on. They may be in one process, as here, or in several.
func Example_deadlock() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	var both sync.WaitGroup
	both.Add(2)
	move := func(from, to string) error {
		return m.Do(ctx, from, func(ctx context.Context) error {
			both.Done()
			both.Wait() // each holds its first account
			return m.Do(ctx, to, func(context.Context) error { return nil })
		})
	}
	errs := make(chan error, 2)
	go func() { errs <- move("account/7", "account/42") }()
	go func() { errs <- move("account/42", "account/7") }()
	first, second := <-errs, <-errs
	fmt.Println(errors.Is(errors.Join(first, second), manager.ErrDeadlock))
	// Output:
	// true
}
