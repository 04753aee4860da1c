package redislock_test

import (
	"context"
	"log"
	"time"

	host "github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"

	"github.com/lockkeeper/lockkeeper/adapters/redislock"
	"github.com/lockkeeper/lockkeeper/manager"
)

func ExampleNew() {
	_ = func(ctx context.Context, m *manager.Manager) error {
		locker := redislock.New(m) // was: redislock.New(client)
		lock, err := locker.Obtain(ctx, "report", time.Minute, nil)
		if err == redislock.ErrNotObtained { //nolint:errorlint // as programs that used redislock do
			log.Print("another has it")
			return nil
		} else if err != nil {
			return err
		}
		return lock.Release(ctx)
	}
}

// For the deploy between Redis alone and PostgreSQL alone.
func ExampleNewDual() {
	_ = func(m *manager.Manager, client *redis.Client) *redislock.Client {
		return redislock.NewDual(m, host.New(client))
	}
}
