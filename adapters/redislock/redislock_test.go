package redislock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	host "github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"

	"github.com/lockkeeper/lockkeeper/adapters/redislock"
	"github.com/lockkeeper/lockkeeper/internal/adaptertest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestMain(m *testing.M) { adaptertest.Main(m) }

// shape is what a program that uses redislock calls.
type shape interface {
	Key() string
	Token() string
	Metadata() string
	TTL(ctx context.Context) (time.Duration, error)
	Refresh(ctx context.Context, ttl time.Duration, opt *host.Options) error
	Release(ctx context.Context) error
}

var (
	_ shape = (*host.Lock)(nil)
	_ shape = (*redislock.Lock)(nil)
)

const ttl = time.Minute

// obtain fails the test unless the lock of "a" is obtained.
func obtain(t *testing.T, c *redislock.Client, opt *redislock.Options) *redislock.Lock {
	t.Helper()
	l, err := c.Obtain(t.Context(), "a", ttl, opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func release(t *testing.T, l shape) {
	t.Helper()
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestALockExcludesUntilItIsReleased(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		here, there := redislock.New(open()), redislock.New(open())
		l := obtain(t, here, &redislock.Options{Metadata: "m", Token: "t"})
		if l.Key() != "a" || l.Token() != "t" || l.Metadata() != "m" {
			t.Errorf("key %q, token %q, metadata %q", l.Key(), l.Token(), l.Metadata())
		}
		if _, err := there.Obtain(t.Context(), "a", ttl, nil); err != redislock.ErrNotObtained { //nolint:errorlint // as redislock's README does
			t.Errorf("Obtain while another holds it: %v", err)
		}
		limited := &redislock.Options{RetryStrategy: redislock.LimitRetry(redislock.LinearBackoff(time.Millisecond), 3)}
		if _, err := there.Obtain(t.Context(), "a", ttl, limited); err != redislock.ErrNotObtained { //nolint:errorlint // as above
			t.Errorf("Obtain, three times: %v", err)
		}
		release(t, l)
		if err := l.Release(t.Context()); err != redislock.ErrLockNotHeld { //nolint:errorlint // as above
			t.Errorf("a second Release: %v", err)
		}
		// With retries: what is left of the waits before, in there, may be granted the lock for a moment.
		again := obtain(t, there, &redislock.Options{RetryStrategy: redislock.LinearBackoff(time.Second)})
		if again.Token() == "" {
			t.Error("no token")
		}
		release(t, again)
	})
}

func TestARetryWaitsForTheLock(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		here, there := redislock.New(open()), redislock.New(open())
		l := obtain(t, here, nil)
		endless := &redislock.Options{RetryStrategy: redislock.LinearBackoff(20 * time.Millisecond)}
		if _, err := there.Obtain(t.Context(), "a", 100*time.Millisecond, endless); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Obtain without a deadline, for longer than the ttl: %v", err)
		}
		obtained := make(chan error, 1)
		go func() { // Joined by obtained.
			l, err := there.Obtain(context.WithoutCancel(t.Context()), "a", ttl, endless)
			obtained <- errors.Join(err, l.Release(context.WithoutCancel(t.Context())))
		}()
		release(t, l)
		if err := adaptertest.Receive(t, obtained, "Obtain"); err != nil {
			t.Error(err)
		}
	})
}

func TestTheWaitIsNoPartOfTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := locktest.NewServer()
		defer s.Close()
		m, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close(context.WithoutCancel(t.Context())) }()
		free, err := s.Hold(m.Key("a"))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(50*time.Second, free)
		l := obtain(t, redislock.New(m), &redislock.Options{RetryStrategy: redislock.LinearBackoff(time.Second)})
		if left, err := l.TTL(t.Context()); left < ttl-time.Second || err != nil {
			t.Errorf("of a ttl of %v are left %v, %v", ttl, left, err)
		}
		release(t, l)
	})
}

func TestAHoldOutlivesItsContextAndItsTTLAndTellsALoss(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	ctx, cancel := context.WithCancel(t.Context())
	const ttl = time.Hour
	l, err := redislock.Obtain(ctx, m, "a", ttl, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if left, err := l.TTL(t.Context()); left <= 0 || left > ttl || err != nil {
		t.Errorf("TTL: %v, %v", left, err)
	}
	if err := l.Refresh(t.Context(), time.Nanosecond, nil); err != nil {
		t.Errorf("Refresh: %v", err)
	}
	if left, err := l.TTL(t.Context()); left != 0 || err != nil {
		t.Errorf("TTL after a nanosecond: %v, %v", left, err)
	}
	if err := l.Refresh(t.Context(), ttl, nil); err != nil {
		t.Errorf("Refresh when the time was over: %v", err)
	}
	server.Lose()
	adaptertest.Receive(t, l.Done(), "Done")
	if err := context.Cause(l.Context()); !errors.Is(err, manager.ErrLost) {
		t.Errorf("the context's cause: %v", err)
	}
	if left, err := l.TTL(t.Context()); left != 0 || err != nil {
		t.Errorf("TTL of a lost lock: %v, %v", left, err)
	}
	if err := l.Refresh(t.Context(), ttl, nil); err != redislock.ErrNotObtained { //nolint:errorlint // as above
		t.Errorf("Refresh of a lost lock: %v", err)
	}
	if err := l.Release(t.Context()); err != redislock.ErrLockNotHeld { //nolint:errorlint // as above
		t.Errorf("Release of a lost lock: %v", err)
	}
	if err := (*redislock.Lock)(nil).Release(t.Context()); !errors.Is(err, redislock.ErrLockNotHeld) {
		t.Errorf("Release of nil: %v", err)
	}
}

// While programs change, three kinds of replicas run: those with Redis alone, with both, and with Lockkeeper alone.
func TestADualLockIsBoth(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		client := redis.NewClient(&redis.Options{Addr: adaptertest.Redis(t)})
		t.Cleanup(func() { _ = client.Close() })
		m := open()
		before, both, after := host.New(client), redislock.NewDual(m, host.New(client)), redislock.New(open())
		lock := func() (shape, error) { return both.Obtain(t.Context(), "a", ttl, nil) }
		old := func() (shape, error) { return before.Obtain(t.Context(), "a", ttl, nil) }
		alone := func() (shape, error) { return after.Obtain(t.Context(), "a", ttl, nil) }
		for name, pair := range map[string][2]func() (shape, error){
			"old, then dual": {old, lock}, "dual, then old": {lock, old}, "new, then dual": {alone, lock},
			"dual, then new": {lock, alone}, "dual, then dual": {lock, lock},
		} {
			first, err := pair[0]()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := pair[1](); err != host.ErrNotObtained { //nolint:errorlint // as above
				t.Errorf("%s: %v, should be ErrNotObtained", name, err)
			}
			release(t, first)
			second, err := pair[1]() // nothing of the attempt that failed is left
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			release(t, second)
		}

		l := obtain(t, both, nil)
		if left, err := l.TTL(t.Context()); left <= 0 || left > ttl || err != nil {
			t.Errorf("TTL: %v, %v", left, err)
		}
		if err := l.Refresh(t.Context(), ttl, nil); err != nil {
			t.Errorf("Refresh: %v", err)
		}
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := l.Refresh(t.Context(), ttl, nil); err != host.ErrNotObtained { //nolint:errorlint // as above
			t.Errorf("Refresh when Redis has lost it: %v", err)
		}
		if err := l.Release(t.Context()); err != host.ErrLockNotHeld { //nolint:errorlint // as above
			t.Errorf("Release when Redis has lost it: %v", err)
		}
		adaptertest.Free(t, m, "a")
	})
}

func TestADualLockThatPostgreSQLLostIsReleasedInRedis(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	client := redis.NewClient(&redis.Options{Addr: adaptertest.Redis(t)})
	t.Cleanup(func() { _ = client.Close() })
	l := obtain(t, redislock.NewDual(m, host.New(client)), nil)
	server.Lose()
	adaptertest.Receive(t, l.Done(), "Done")
	if err := l.Refresh(t.Context(), ttl, nil); err != host.ErrNotObtained { //nolint:errorlint // as above
		t.Errorf("Refresh: %v", err)
	}
	if err := l.Release(t.Context()); err != host.ErrLockNotHeld { //nolint:errorlint // as above
		t.Errorf("Release: %v", err)
	}
	if n, err := client.Exists(t.Context(), "a").Result(); n != 0 || err != nil {
		t.Errorf("in Redis are %d keys, %v", n, err)
	}
}
