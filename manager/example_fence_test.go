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

// Guard lets a transaction commit only while its lock's holder is the newest. Here somebody else takes over in the middle.
func ExampleGuard() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	if err = manager.Migrate(ctx, conn); err != nil { // once for each database
		log.Fatal(err)
	}
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"), manager.WithFencing())
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	lock, err := m.Acquire(ctx, "orders/42")
	if err != nil {
		log.Fatal(err)
	}
	ship := func(tx pgx.Tx) error {
		if err := manager.Guard(ctx, tx, lock); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT 'ship it'")
		return err
	}
	fmt.Println(pgx.BeginFunc(ctx, conn, ship))

	// The server ends the session that has the lock, and another takes over.
	if _, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid = $2",
		uint32(uint64(lock.ID())>>32), uint32(uint64(lock.ID()))); err != nil {
		log.Fatal(err)
	}
	next, err := m.Acquire(ctx, "orders/42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(next.Token() > lock.Token())
	fmt.Println(errors.Is(pgx.BeginFunc(ctx, conn, ship), manager.ErrFenced))
	// Output:
	// <nil>
	// true
	// true
}
