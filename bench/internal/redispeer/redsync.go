package redispeer

import (
	"context"
	"errors"
	"math"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Redsync is github.com/go-redsync/redsync/v4 on go-redis, with one Redis.
type Redsync struct{}

// Name implements [peer.System].
func (Redsync) Name() string { return "redsync" }

// Open implements [peer.System].
func (Redsync) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	c, err := goRedis(ctx, e)
	if err != nil {
		return nil, err
	}
	return &redsyncClient{redis: c, sync: redsync.New(goredis.NewPool(c))}, nil
}

type redsyncClient struct {
	redis *redis.Client
	sync  *redsync.Redsync
}

func (c *redsyncClient) Lock(ctx context.Context, key string) (peer.Held, error) {
	mutex := c.sync.NewMutex(key, redsync.WithExpiry(validity), redsync.WithTries(math.MaxInt),
		redsync.WithRetryDelay(retryEvery))
	if err := mutex.LockContext(ctx); err != nil {
		if ctx.Err() != nil { // it says only that it failed
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return redsyncHeld{mutex}, nil
}

func (c *redsyncClient) Close() error { return c.redis.Close() }

type redsyncHeld struct{ mutex *redsync.Mutex }

func (h redsyncHeld) Release(ctx context.Context) error {
	ok, err := h.mutex.UnlockContext(ctx)
	if err == nil && !ok {
		err = errors.New("the lock was not held")
	}
	return err
}
