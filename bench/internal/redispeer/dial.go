package redispeer

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Systems are those of this package.
func Systems() []peer.System { return []peer.System{Rueidislock{}, Redislock{}, Redsync{}} }

var errNoRedis = errors.New("there is no Redis: apt-get install redis-server")

func network(addr string) string {
	if strings.HasPrefix(addr, "/") {
		return "unix"
	}
	return "tcp"
}

// goRedis is the connection pool that redislock and redsync are documented with.
func goRedis(ctx context.Context, e peer.Env) (*redis.Client, error) {
	if e.RedisAddr == "" {
		return nil, errNoRedis
	}
	c := redis.NewClient(&redis.Options{
		Network: network(e.RedisAddr), Addr: e.RedisAddr,
		// More than this gains nothing on two processors, for the same reason as with PostgreSQL.
		PoolSize: min(max(e.Goroutines, 1), poolSize),
		// A goroutine in a crowd waits for a connection for as long as its turn takes.
		PoolTimeout: time.Minute,
	})
	if err := c.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

const (
	poolSize = 50
	// validity is how long a lock lasts that nobody extends: longer than any round of a benchmark.
	validity = 2 * time.Minute
	// retryEvery is the pause of a waiter. Shorter ones make waiters keep the server from the holder's release.
	retryEvery = time.Millisecond
)
