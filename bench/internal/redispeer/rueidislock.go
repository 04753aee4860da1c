package redispeer

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Rueidislock is github.com/redis/rueidis/rueidislock: one connection with automatic pipelining, waiters woken by
// client-side caching.
type Rueidislock struct{}

// Name implements [peer.System].
func (Rueidislock) Name() string { return "rueidislock" }

// Open implements [peer.System].
func (Rueidislock) Open(_ context.Context, e peer.Env) (peer.Client, error) {
	if e.RedisAddr == "" {
		return nil, errNoRedis
	}
	option := rueidis.ClientOption{InitAddress: []string{e.RedisAddr}, RingScaleEachConn: ringScale(e.Goroutines)}
	if network(e.RedisAddr) == "unix" {
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
		return nil, err
	}
	return rueidislockClient{l}, nil
}

// ringScale gives each caller a place in the connection's ring, so that none waits for one.
func ringScale(goroutines int) int {
	scale := rueidis.DefaultRingScale
	for 1<<scale < goroutines && scale < 16 {
		scale++
	}
	return scale
}

type rueidislockClient struct{ l rueidislock.Locker }

func (c rueidislockClient) Lock(ctx context.Context, key string) (peer.Held, error) {
	_, release, err := c.l.WithContext(ctx, key)
	if err != nil {
		return nil, err
	}
	return rueidislockHeld(release), nil
}

func (c rueidislockClient) Close() error {
	c.l.Close()
	return nil
}

type rueidislockHeld context.CancelFunc

// Release waits until the key is deleted: the cancel function does.
func (h rueidislockHeld) Release(context.Context) error {
	h()
	return nil
}
