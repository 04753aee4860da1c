package systems

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

func redisEnv(t *testing.T) (onSocket, onTCP harness.Env) {
	t.Helper()
	s := newRedis(t)
	onSocket, onTCP = s.Env(""), s.Env(s.TCP)
	onSocket.Goroutines, onTCP.Goroutines = 8, 8
	return onSocket, onTCP
}

// Goroutines of two clients, one on the socket and one on TCP, take one lock in turns and are never two.
func TestSystemsExclude(t *testing.T) {
	socket, tcp := redisEnv(t)
	for _, s := range on("Redis") {
		t.Run(s.Name, func(t *testing.T) {
			clients := []harness.Client{open(t, s, socket), open(t, s, tcp)}
			var inside, pairs atomic.Int32
			var running sync.WaitGroup
			for g := range 8 {
				running.Go(func() {
					for range 10 {
						held, err := lockAtLast(t, clients[g%2])
						if err != nil {
							t.Error(err)
							return
						}
						if inside.Add(1) != 1 {
							t.Error("two hold one lock")
						}
						pairs.Add(1)
						inside.Add(-1)
						if err := held.Release(t.Context()); err != nil {
							t.Error(err)
						}
					}
				})
			}
			running.Wait()
			if pairs.Load() != 80 {
				t.Errorf("%d pairs", pairs.Load())
			}
		})
	}
}

// lockAtLast asks again where a wait has lasted for long: that a peer may fail to wake a waiter is not what is tested.
func lockAtLast(t *testing.T, c harness.Client) (held harness.Held, err error) {
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel) // not before: some end the hold with the context
		patience := time.AfterFunc(time.Second, cancel)
		if held, err = c.Lock(ctx, "key"); err == nil && patience.Stop() {
			return held, nil
		}
		cancel()
		if err == nil { // granted too late
			if err = held.Release(t.Context()); err != nil {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("no lock after 20 attempts: %w", err)
}

// A wait ends with its context, and the error says so.
func TestAWaitEndsWithItsContext(t *testing.T) {
	_, tcp := redisEnv(t)
	for _, s := range on("Redis") {
		t.Run(s.Name, func(t *testing.T) {
			c, other := open(t, s, tcp), open(t, s, tcp)
			held, err := c.Lock(t.Context(), "key")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if _, err := other.Lock(ctx, "key"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if err := held.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWithoutRedis(t *testing.T) {
	for _, s := range on("Redis") {
		for _, addr := range []string{"", "127.0.0.1:1"} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			c, err := s.Open(ctx, harness.Env{RedisAddr: addr})
			cancel()
			if err == nil {
				t.Errorf("%s opened without a server at %q", s.Name, addr)
				_ = c.Close()
			}
		}
	}
}
