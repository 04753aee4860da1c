package manager_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/manager"
)

// AcquireShared waits for a writer, not for other readers.
func ExampleManager_AcquireShared() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	first, err := m.AcquireShared(ctx, "prices")
	if err != nil {
		log.Fatal(err)
	}
	second, err := m.AcquireShared(ctx, "prices")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("two readers:", first.Err(), second.Err())
	fmt.Println(first.Release(ctx), second.Release(ctx))
	// Output:
	// two readers: <nil> <nil>
	// <nil> <nil>
}

// AcquireSlot waits for one of n slots; its number may stand for a port, a GPU or a licence.
func ExampleManager_AcquireSlot() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	const printers = 2
	first, err := m.AcquireSlot(ctx, "printer", printers)
	if err != nil {
		log.Fatal(err)
	}
	second, err := m.AcquireSlot(ctx, "printer", printers)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("two printers:", first.Number()+second.Number() == 1)
	_, err = m.TryAcquireSlot(ctx, "printer", printers)
	fmt.Println("both are in use:", errors.Is(err, manager.ErrNotAcquired))
	fmt.Println(first.Release(ctx), second.Release(ctx))
	// Output:
	// two printers: true
	// both are in use: true
	// <nil> <nil>
}

// TryAcquireTx does not wait: the transaction goes on without the lock, and can do something else.
func ExampleTryAcquireTx() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)

	lock, err := m.Acquire(ctx, "orders/43")
	if err != nil {
		log.Fatal(err)
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		err := manager.TryAcquireTx(ctx, tx, "orders/43")
		fmt.Println("held by another:", errors.Is(err, manager.ErrNotAcquired))
		return nil
	})
	fmt.Println(err, lock.Release(ctx))
	// Output:
	// held by another: true
	// <nil> <nil>
}

// Terminate ends a session that holds a lock for too long. Its holder is notified of the loss.
func ExampleManager_Terminate() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	lock, err := m.Acquire(ctx, "orders/44")
	if err != nil {
		log.Fatal(err)
	}
	locks, err := m.Locks(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range locks {
		if l.ID == lock.ID() {
			fmt.Println(m.Terminate(ctx, l.Holders[0]))
		}
	}
	<-lock.Done()
	fmt.Println("lost:", errors.Is(lock.Err(), manager.ErrLost))
	// Output:
	// <nil>
	// lost: true
}
