package redsync_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	host "github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/lockkeeper/lockkeeper/adapters/redsync"
	"github.com/lockkeeper/lockkeeper/internal/adaptertest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestMain(m *testing.M) { adaptertest.Main(m) }

// shape is what a program that uses redsync calls.
type shape interface {
	Name() string
	Value() string
	Until() time.Time
	Lock() error
	LockContext(ctx context.Context) error
	TryLock() error
	TryLockContext(ctx context.Context) error
	Unlock() (bool, error)
	UnlockContext(ctx context.Context) (bool, error)
	Extend() (bool, error)
	ExtendContext(ctx context.Context) (bool, error)
	Valid() (bool, error)
	ValidContext(ctx context.Context) (bool, error)
}

var (
	_ shape = (*host.Mutex)(nil)
	_ shape = (*redsync.Mutex)(nil)
)

func lock(t *testing.T, m shape) {
	t.Helper()
	if err := m.Lock(); err != nil {
		t.Fatal(err)
	}
}

func unlock(t *testing.T, m shape) {
	t.Helper()
	if ok, err := m.Unlock(); !ok || err != nil {
		t.Fatalf("Unlock: %t, %v", ok, err)
	}
}

func isTaken(err error) bool {
	var taken *redsync.ErrTaken
	return errors.As(err, &taken)
}

func TestAMutexExcludesUntilItIsUnlocked(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		here := redsync.New(open()).NewMutex("a")
		other := redsync.New(open())
		there, brief := other.NewMutex("a"), other.NewMutex("a", redsync.WithTries(3), redsync.WithRetryDelay(time.Millisecond))
		if here.Name() != "a" || here.Value() != "" || !here.Until().IsZero() || here.Done() != nil {
			t.Errorf("before Lock: %q, %q, %v", here.Name(), here.Value(), here.Until())
		}
		lock(t, here)
		if here.Value() == "" || time.Until(here.Until()) > 8*time.Second {
			t.Errorf("after Lock: %q, %v", here.Value(), here.Until())
		}
		if err := there.TryLock(); !isTaken(err) || !errors.Is(err, manager.ErrWaitTimeout) && !errors.Is(err, manager.ErrNotAcquired) {
			t.Errorf("TryLock while another holds it: %v", err)
		}
		if err := brief.Lock(); !isTaken(err) {
			t.Errorf("Lock, three tries: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := there.LockContext(ctx); !errors.Is(err, redsync.ErrFailed) || !errors.Is(err, context.Canceled) {
			t.Errorf("Lock with a context that ended: %v", err)
		}
		locked := make(chan error, 1)
		go func() { locked <- there.Lock() }() // Joined by locked.
		unlock(t, here)
		if err := adaptertest.Receive(t, locked, "Lock"); err != nil {
			t.Fatal(err)
		}
		if ok, err := here.Unlock(); ok || !errors.Is(err, redsync.ErrLockAlreadyExpired) {
			t.Errorf("a second Unlock: %t, %v", ok, err)
		}
		if ok, err := brief.Unlock(); ok || !errors.Is(err, redsync.ErrLockAlreadyExpired) {
			t.Errorf("Unlock without Lock: %t, %v", ok, err)
		}
		unlock(t, there)
	})
}

func TestAHoldOutlivesItsContextAndItsExpiryAndTellsALoss(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	mutex := redsync.New(m).NewMutex("a", redsync.WithExpiry(time.Nanosecond))
	if ok, err := mutex.Extend(); ok || !errors.Is(err, redsync.ErrExtendFailed) {
		t.Errorf("Extend before Lock: %t, %v", ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := mutex.LockContext(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	until := mutex.Until()
	if ok, err := mutex.Valid(); !ok || err != nil {
		t.Errorf("Valid when the expiry is over: %t, %v", ok, err)
	}
	if ok, err := mutex.Extend(); !ok || err != nil || !mutex.Until().After(until) {
		t.Errorf("Extend when the expiry is over: %t, %v, until %v", ok, err, mutex.Until())
	}
	server.Lose()
	adaptertest.Receive(t, mutex.Done(), "Done")
	if ok, err := mutex.Valid(); ok || err != nil {
		t.Errorf("Valid after a loss: %t, %v", ok, err)
	}
	if ok, err := mutex.Extend(); ok || !errors.Is(err, redsync.ErrExtendFailed) || !errors.Is(err, manager.ErrLost) {
		t.Errorf("Extend after a loss: %t, %v", ok, err)
	}
	if ok, err := mutex.Unlock(); ok || !errors.Is(err, redsync.ErrLockAlreadyExpired) || !errors.Is(err, manager.ErrLost) {
		t.Errorf("Unlock after a loss: %t, %v", ok, err)
	}
	lock(t, mutex)
	unlock(t, mutex)
}

// While programs change, three kinds of replicas run: those with Redis alone, with both, and with Lockkeeper alone.
func TestADualMutexIsBoth(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		client := redis.NewClient(&redis.Options{Addr: adaptertest.Redis(t)})
		t.Cleanup(func() { _ = client.Close() })
		m := open()
		before, both, after := host.New(goredis.NewPool(client)), redsync.NewDual(m, host.New(goredis.NewPool(client))), redsync.New(open())
		old := func() shape { return before.NewMutex("a", host.WithExpiry(time.Minute)) }
		dual := func() shape { return both.NewMutex("a", redsync.WithExpiry(time.Minute)) }
		alone := func() shape { return after.NewMutex("a") }
		for name, pair := range map[string][2]func() shape{
			"old, then dual": {old, dual}, "dual, then old": {dual, old}, "new, then dual": {alone, dual},
			"dual, then new": {dual, alone}, "dual, then dual": {dual, dual},
		} {
			first, second := pair[0](), pair[1]()
			lock(t, first)
			if err := second.TryLock(); !isTaken(err) {
				t.Errorf("%s: %v, should be ErrTaken", name, err)
			}
			unlock(t, first)
			lock(t, second) // nothing of the attempt that failed is left
			unlock(t, second)
		}

		mutex := dual()
		lock(t, mutex)
		until := mutex.Until()
		if ok, err := mutex.Extend(); !ok || err != nil || !mutex.Until().After(until) {
			t.Errorf("Extend: %t, %v", ok, err)
		}
		if ok, err := mutex.Valid(); !ok || err != nil {
			t.Errorf("Valid: %t, %v", ok, err)
		}
		if err := client.Set(t.Context(), "a", "another's", 0).Err(); err != nil { // as after it expired
			t.Fatal(err)
		}
		if ok, _ := mutex.Valid(); ok {
			t.Error("Valid when Redis has lost it")
		}
		if ok, _ := mutex.Extend(); ok {
			t.Error("Extend succeeds when Redis has lost it")
		}
		if ok, _ := mutex.Unlock(); ok {
			t.Error("Unlock succeeds when Redis has lost it")
		}
		adaptertest.Free(t, m, "a")
	})
}

func TestADualMutexThatPostgreSQLLostIsUnlockedInRedis(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	client := redis.NewClient(&redis.Options{Addr: adaptertest.Redis(t)})
	t.Cleanup(func() { _ = client.Close() })
	mutex := redsync.NewDual(m, host.New(goredis.NewPool(client))).NewMutex("a", redsync.WithExpiry(time.Minute))
	lock(t, mutex)
	server.Lose()
	adaptertest.Receive(t, mutex.Done(), "Done")
	if ok, err := mutex.Extend(); ok || !errors.Is(err, redsync.ErrExtendFailed) {
		t.Errorf("Extend: %t, %v", ok, err)
	}
	if ok, err := mutex.Unlock(); ok || !errors.Is(err, redsync.ErrLockAlreadyExpired) {
		t.Errorf("Unlock: %t, %v", ok, err)
	}
	if n, err := client.Exists(t.Context(), "a").Result(); n != 0 || err != nil {
		t.Errorf("in Redis are %d keys, %v", n, err)
	}
}

func TestEndlessTriesWait(t *testing.T) {
	m := locktest.Open(t)
	for _, pause := range []time.Duration{0, time.Nanosecond, time.Millisecond, time.Hour} {
		asked := 0
		delay := func(int) time.Duration { asked++; return pause }
		mutex := redsync.New(m).NewMutex("a", redsync.WithTries(1<<62), redsync.WithRetryDelayFunc(delay))
		lock(t, mutex)
		unlock(t, mutex)
		if asked > 1000 {
			t.Errorf("the delay is asked for %d times, before anybody waits", asked)
		}
	}
}

// The wait is as long as all delays, of many tries too.
func TestManyTriesWaitForAsLongAsAllDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := locktest.NewServer()
		defer s.Close()
		m, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close(context.WithoutCancel(t.Context())) }()
		release, err := s.Hold(m.Key("a"))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		mutex := redsync.New(m).NewMutex("a", redsync.WithTries(5001), redsync.WithRetryDelay(10*time.Millisecond))
		if err := mutex.Lock(); !isTaken(err) {
			t.Errorf("Lock: %v", err)
		}
		if waited := time.Since(began); waited < 50*time.Second || waited > 52*time.Second {
			t.Errorf("it has waited for %v, should be 50s", waited)
		}
		// The wait is no part of the expiry.
		time.AfterFunc(30*time.Second, release)
		lock(t, mutex)
		if left := time.Until(mutex.Until()); left < 7*time.Second {
			t.Errorf("of an expiry of 8s are left %v", left)
		}
		unlock(t, mutex)
	})
}
