package manager_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/manager"
)

// BeginTx is for work that nobody may do after the lock is somebody else's: the transaction runs on the session that has the lock.
func ExampleLock_BeginTx() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	lock, err := m.Acquire(ctx, "account/42", manager.WithDedicatedSession())
	if err != nil {
		log.Fatal(err)
	}
	err = pgx.BeginTxFunc(ctx, lock, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var balance int
		err := tx.QueryRow(ctx, "SELECT 40 + $1::int", 2).Scan(&balance)
		fmt.Println(balance)
		return err
	})
	fmt.Println(err, lock.Release(ctx))
	// Output:
	// 42
	// <nil> <nil>
}
