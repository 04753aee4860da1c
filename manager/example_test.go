package manager_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx" of database/sql

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/manager"
)

// One manager serves a whole program. The context given to Acquire bounds the wait and the hold.
func Example() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	lock, err := m.Acquire(ctx, "orders/42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("holding", lock.Key(), lock.Err())
	if err := lock.Release(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(lock.Err())
	// Output:
	// holding orders/42 <nil>
	// lock released
}

// Do is Acquire and Release around a function, whose context ends when the lock does.
func ExampleManager_Do() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	err = m.Do(ctx, "orders/42", func(ctx context.Context) error {
		fmt.Println("shipping, and nobody else is")
		return ctx.Err() // pass ctx on: it ends should the lock be lost
	})
	fmt.Println(err)
	// Output:
	// shipping, and nobody else is
	// <nil>
}

// TryAcquire does not wait for whoever holds the lock.
func ExampleManager_TryAcquire() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	lock, err := m.TryAcquire(ctx, "nightly report")
	fmt.Println(err)

	_, err = m.TryAcquire(ctx, "nightly report")
	if errors.Is(err, manager.ErrNotAcquired) {
		fmt.Println("somebody else writes it")
	}
	if err := lock.Release(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// <nil>
	// somebody else writes it
}

// WithWaitTimeout bounds the wait, and leaves the hold to ctx.
func ExampleWithWaitTimeout() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	first, err := m.Acquire(ctx, "orders/42", manager.WithWaitTimeout(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Acquire(ctx, "orders/42", manager.WithWaitTimeout(10*time.Millisecond))
	fmt.Println(errors.Is(err, manager.ErrWaitTimeout))

	var why *manager.AcquireError
	if errors.As(err, &why) { // which has the whole story
		fmt.Println(why.Key, "is held by this very process:", why.Holder.Local)
	}
	fmt.Println(first.Release(ctx))
	// Output:
	// true
	// orders/42 is held by this very process: true
	// <nil>
}

// WithDetachedHold keeps the lock after the context has ended: the context of a request, say, that starts a longer job.
func ExampleWithDetachedHold() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	request, done := context.WithTimeout(ctx, time.Minute)
	lock, err := m.Acquire(request, "import", manager.WithDetachedHold())
	if err != nil {
		log.Fatal(err)
	}
	done()
	fmt.Println("after the request:", lock.Err())
	fmt.Println(lock.Release(ctx)) // by hand: no context does it now
	// Output:
	// after the request: <nil>
	// <nil>
}

// WithDedicatedSession keeps a lock that is held for long apart from the losses of others.
func ExampleWithDedicatedSession() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	leader, err := m.Acquire(ctx, "leader", manager.WithDedicatedSession())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("connections of its own:", m.Stats().Sessions.Dedicated)
	select {
	case <-leader.Done():
		fmt.Println("leads no more:", leader.Err())
	default:
		fmt.Println("leads")
	}
	fmt.Println(leader.Release(ctx))
	// Output:
	// connections of its own: 1
	// leads
	// <nil>
}

// LinearRetry asks a few times, with longer and longer pauses, before it waits in the server's queue.
func ExampleLinearRetry() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"),
		manager.WithRetry(manager.LinearRetry(3, 100*time.Millisecond)))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	fmt.Println(m.Do(ctx, "orders/42", func(context.Context) error { return nil }))

	pauses := manager.LinearRetry(3, 100*time.Millisecond).Backoff()
	fmt.Println(pauses.NextBackOff(), pauses.NextBackOff(), pauses.NextBackOff())
	// Output:
	// <nil>
	// 100ms 200ms 300ms
}

// FromPool takes the sessions out of a pool that the program has already.
func ExampleFromPool() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	source, err := manager.FromPool(pool)
	if err != nil {
		log.Fatal(err)
	}
	m, err := manager.New(ctx, source, manager.WithApplicationName("billing"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	err = m.Do(ctx, "orders/42", func(ctx context.Context) error {
		return pool.Ping(ctx) // the pool's own work goes on beside
	})
	fmt.Println(err)
	// Output:
	// <nil>
}

// FromDB does the same for database/sql on pgx's driver.
func ExampleFromDB() {
	ctx := context.Background()
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	source, err := manager.FromDB(db)
	if err != nil {
		log.Fatal(err)
	}
	m, err := manager.New(ctx, source)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	fmt.Println(m.Do(ctx, "orders/42", db.PingContext))
	// Output:
	// <nil>
}

// Programs that share a database may use the same names, each in a namespace of its own.
func ExampleWithNamespace() {
	ctx := context.Background()
	billing, err := manager.Open(ctx, os.Getenv("DATABASE_URL"), manager.WithNamespace("billing"))
	if err != nil {
		log.Fatal(err)
	}
	defer billing.Close(ctx)
	shipping, err := manager.Open(ctx, os.Getenv("DATABASE_URL"), manager.WithNamespace("shipping"))
	if err != nil {
		log.Fatal(err)
	}
	defer shipping.Close(ctx)

	err = billing.Do(ctx, "orders/42", func(ctx context.Context) error {
		return shipping.Do(ctx, "orders/42", func(context.Context) error {
			fmt.Println("both hold their orders/42")
			return nil
		})
	})
	fmt.Println(err)
	// Output:
	// both hold their orders/42
	// <nil>
}

// With PostgreSQL's own hash, SQL can take the same lock: SELECT pg_advisory_lock(hashtextextended('orders/42', 0)).
func ExampleWithHash() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"), manager.WithHash(hashing.Postgres))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	fmt.Println(m.Key("orders/42").ID() == hashing.Postgres("orders/42"))
	// Output:
	// true
}

// WithHashes is for the program that is deployed between two that compute ids in different ways: it excludes both.
func ExampleWithHashes() {
	ctx := context.Background()
	hashes := hashing.Both(hashing.FNV1a, hashing.Postgres)
	var programs []*manager.Manager
	for _, ids := range []manager.Option{manager.WithHash(hashes.Old), manager.WithHashes(hashes), manager.WithHash(hashes.New)} {
		m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"), ids)
		if err != nil {
			log.Fatal(err)
		}
		defer m.Close(ctx)
		programs = append(programs, m)
	}
	before, between, after := programs[0], programs[1], programs[2]

	err := between.Do(ctx, "orders/42", func(context.Context) error {
		_, byOld := before.TryAcquire(ctx, "orders/42")
		_, byNew := after.TryAcquire(ctx, "orders/42")
		fmt.Println(errors.Is(byOld, manager.ErrNotAcquired), errors.Is(byNew, manager.ErrNotAcquired))
		return nil
	})
	fmt.Println(err)
	// Output:
	// true true
	// <nil>
}

// A Key is computed once and used often.
func ExampleKey() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	key := m.Key("orders/42")
	for range 3 {
		lock, err := key.Acquire(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := lock.Release(ctx); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(key.Name(), key.ID())
	// Output:
	// orders/42 -6475162556055330337
}

// Done and Err say how a hold ended; its context ends with it.
func ExampleLock_Context() {
	ctx := context.Background()
	m, err := manager.Open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}

	lock, err := m.Acquire(ctx, "orders/42")
	if err != nil {
		log.Fatal(err)
	}
	work := lock.Context() // for all that is done under the lock
	fmt.Println(m.Close(ctx))

	<-work.Done()
	fmt.Println(work.Err(), "because:", context.Cause(work))
	<-lock.Done()
	fmt.Println(errors.Is(lock.Err(), manager.ErrClosed))
	// Output:
	// <nil>
	// context canceled because: closed
	// true
}
