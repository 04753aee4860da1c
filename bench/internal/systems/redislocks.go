package systems

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"strings"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

var errNoServer = errors.New("there is no Redis: apt-get install redis-server")

const (
	// validity is how long a lock lasts that nobody extends: longer than any round of a benchmark.
	validity = 2 * time.Minute
	// retryEvery is the pause of a waiter. With shorter pauses, waiters keep the server from the holder's release.
	retryEvery = time.Millisecond
)

// onSocket reports whether an address is the path of a unix socket.
func onSocket(addr string) bool { return strings.HasPrefix(addr, "/") }

// openGoRedis opens the connection pool that redislock and redsync are documented with.
func openGoRedis(ctx context.Context, e harness.Env) (*redis.Client, error) {
	if e.RedisAddr == "" {
		return nil, errNoServer
	}
	options := &redis.Options{
		Addr: e.RedisAddr,
		// More than this gains nothing on two processors, for the same reason as with PostgreSQL.
		PoolSize: min(max(e.Goroutines, 1), poolSize),
		// A goroutine in a crowd waits for a connection for as long as its turn takes.
		PoolTimeout: time.Minute,
	}
	if onSocket(e.RedisAddr) {
		options.Network = "unix"
	}
	c := redis.NewClient(options)
	if err := c.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// openRedislock opens github.com/bsm/redislock on go-redis.
func openRedislock(ctx context.Context, e harness.Env) (harness.Client, error) {
	c, err := openGoRedis(ctx, e)
	if err != nil {
		return harness.Client{}, err
	}
	locker := redislock.New(c)
	return harness.Client{Close: c.Close, Lock: func(ctx context.Context, key string) (harness.Held, error) {
		for {
			// Without a deadline of its own it gives up after the lock's validity.
			lock, err := locker.Obtain(ctx, key, validity, &redislock.Options{RetryStrategy: redislock.LinearBackoff(retryEvery)})
			switch {
			case err == nil:
				return lock, nil
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case !errors.Is(err, redislock.ErrNotObtained) && !errors.Is(err, context.DeadlineExceeded):
				return nil, err
			}
		}
	}}, nil
}

// openRedsync opens github.com/go-redsync/redsync/v4 on go-redis, with one Redis.
func openRedsync(ctx context.Context, e harness.Env) (harness.Client, error) {
	c, err := openGoRedis(ctx, e)
	if err != nil {
		return harness.Client{}, err
	}
	sync := redsync.New(goredis.NewPool(c))
	return harness.Client{Close: c.Close, Lock: func(ctx context.Context, key string) (harness.Held, error) {
		mutex := sync.NewMutex(key, redsync.WithExpiry(validity), redsync.WithTries(math.MaxInt),
			redsync.WithRetryDelay(retryEvery))
		if err := mutex.LockContext(ctx); err != nil {
			if ctx.Err() != nil { // it says only that it failed
				return nil, context.Cause(ctx)
			}
			return nil, err
		}
		return harness.Release(func(ctx context.Context) error {
			ok, err := mutex.UnlockContext(ctx)
			if err == nil && !ok {
				err = errors.New("the lock was not held")
			}
			return err
		}), nil
	}}, nil
}

// openRueidislock opens github.com/redis/rueidis/rueidislock: one connection with automatic pipelining, waiters woken by
// client-side caching.
func openRueidislock(_ context.Context, e harness.Env) (harness.Client, error) {
	if e.RedisAddr == "" {
		return harness.Client{}, errNoServer
	}
	option := rueidis.ClientOption{InitAddress: []string{e.RedisAddr}, RingScaleEachConn: rueidis.DefaultRingScale}
	for 1<<option.RingScaleEachConn < e.Goroutines && option.RingScaleEachConn < 16 {
		option.RingScaleEachConn++ // each caller has a place in the connection's ring, so that none waits for one
	}
	if onSocket(e.RedisAddr) {
		option.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", addr)
		}
	}
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   option,
		KeyMajority:    1,    // as documented for one Redis
		NoLoopTracking: true, // as documented for Redis 7.0.5 and later
		// How long to wait for one Redis before asking the next; there is none. The default of 20 ms is less than a batch
		// of thousands takes, and an acquisition that gives up so early is never woken again.
		TryNextAfter: 4 * time.Second,
	})
	if err != nil {
		return harness.Client{}, err
	}
	return harness.Client{
		Lock: func(ctx context.Context, key string) (harness.Held, error) {
			_, release, err := l.WithContext(ctx, key)
			if err != nil {
				return nil, err
			}
			return harness.Release(func(context.Context) error {
				release() // which waits until the key is deleted
				return nil
			}), nil
		},
		Close: func() error {
			l.Close()
			return nil
		},
	}, nil
}
