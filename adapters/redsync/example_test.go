package redsync_test

import (
	"context"

	host "github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/lockkeeper/lockkeeper/adapters/redsync"
	"github.com/lockkeeper/lockkeeper/manager"
)

func ExampleNew() {
	_ = func(ctx context.Context, m *manager.Manager) error {
		mutex := redsync.New(m).NewMutex("report") // was: redsync.New(pool)
		if err := mutex.LockContext(ctx); err != nil {
			return err
		}
		_, err := mutex.UnlockContext(ctx)
		return err
	}
}

// For the deploy between Redis alone and PostgreSQL alone.
func ExampleNewDual() {
	_ = func(m *manager.Manager, client *redis.Client) *redsync.Redsync {
		return redsync.NewDual(m, host.New(goredis.NewPool(client)))
	}
}
