package redispeer

import (
	"context"
	"errors"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Redislock is github.com/bsm/redislock on go-redis.
type Redislock struct{}

// Name implements [peer.System].
func (Redislock) Name() string { return "redislock" }

// Open implements [peer.System].
func (Redislock) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	c, err := goRedis(ctx, e)
	if err != nil {
		return nil, err
	}
	return &redislockClient{redis: c, locker: redislock.New(c)}, nil
}

type redislockClient struct {
	redis  *redis.Client
	locker *redislock.Client
}

func (c *redislockClient) Lock(ctx context.Context, key string) (peer.Held, error) {
	for {
		// Without a deadline of its own it gives up after the lock's validity.
		lock, err := c.locker.Obtain(ctx, key, validity, &redislock.Options{RetryStrategy: redislock.LinearBackoff(retryEvery)})
		switch {
		case err == nil:
			return redislockHeld{lock}, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.Is(err, redislock.ErrNotObtained) && !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		}
	}
}

func (c *redislockClient) Close() error { return c.redis.Close() }

type redislockHeld struct{ lock *redislock.Lock }

func (h redislockHeld) Release(ctx context.Context) error { return h.lock.Release(ctx) }
