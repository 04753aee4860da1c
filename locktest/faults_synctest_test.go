package locktest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// inBubble runs a test with a server and a manager in a bubble, where time passes when nothing else does.
func inBubble(t *testing.T, test func(t *testing.T, s *locktest.Server, m *manager.Manager), opts ...manager.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := locktest.NewServer()
		m, err := s.Open(t.Context(), opts...)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s, m)
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
		s.Close()
	})
}

func acquire(t *testing.T, m *manager.Manager, key string) *manager.Lock {
	t.Helper()
	lock, err := m.Acquire(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func TestLose(t *testing.T) {
	inBubble(t, func(t *testing.T, s *locktest.Server, m *manager.Manager) {
		lock := acquire(t, m, "k")
		s.Lose(m.Key("another"))
		synctest.Wait()
		if err := lock.Err(); err != nil {
			t.Fatal(err)
		}
		s.Lose(m.Key("k"))
		<-lock.Done()
		if err := lock.Err(); !errors.Is(err, manager.ErrLost) || !strings.Contains(err.Error(), "due to administrator command") { // as PostgreSQL says
			t.Errorf("the error is %v", err)
		}
		if err := acquire(t, m, "k").Release(t.Context()); err != nil {
			t.Error(err)
		}
		lock = acquire(t, m, "k")
		s.Lose()
		<-lock.Done()
	})
}

func TestHang(t *testing.T) {
	const interval, timeout = 3 * time.Second, 2 * time.Second
	inBubble(t, func(t *testing.T, s *locktest.Server, m *manager.Manager) {
		lock := acquire(t, m, "k")
		s.Hang()
		began := time.Now()
		<-lock.Done()
		if took := time.Since(began); !errors.Is(lock.Err(), manager.ErrLost) || took > interval+timeout {
			t.Errorf("%v after %v", lock.Err(), took)
		}
		s.Resume()
		if err := acquire(t, m, "k").Release(t.Context()); err != nil {
			t.Error(err)
		}
	}, manager.WithHealth(interval, timeout))
}

func TestRefuseAndFail(t *testing.T) {
	once := manager.WithRetry(manager.LinearRetry(1, time.Millisecond))
	inBubble(t, func(t *testing.T, s *locktest.Server, m *manager.Manager) {
		s.Lose()
		s.Refuse(locktest.TooManyConnections)
		if _, err := m.Acquire(t.Context(), "k"); !errors.Is(err, manager.ErrTooManyConnections) {
			t.Errorf("the error is %v", err)
		}
		s.Refuse("")
		lock := acquire(t, m, "k")
		s.Fail(locktest.LockTableFull)
		if _, err := m.Acquire(t.Context(), "another"); !errors.Is(err, manager.ErrLockTableFull) {
			t.Errorf("the error is %v", err)
		}
		if err := lock.Release(t.Context()); err != nil {
			t.Error(err)
		}
		s.Fail("")
		if err := acquire(t, m, "another").Release(t.Context()); err != nil {
			t.Error(err)
		}
	}, once)
}

func TestDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, s *locktest.Server, m *manager.Manager) {
		s.Delay(time.Second)
		began := time.Now()
		lock := acquire(t, m, "k")
		if took := time.Since(began); took < time.Second {
			t.Errorf("the answer came after %v", took)
		}
		s.Delay(0)
		if err := lock.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHold(t *testing.T) {
	inBubble(t, func(t *testing.T, s *locktest.Server, m *manager.Manager) {
		release, err := s.Hold(m.Key("k"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.TryAcquire(t.Context(), "k"); !errors.Is(err, manager.ErrNotAcquired) {
			t.Errorf("the error is %v", err)
		}
		time.AfterFunc(time.Minute, release)
		began := time.Now()
		lock := acquire(t, m, "k")
		if time.Since(began) < time.Minute {
			t.Error("granted while somebody else held it")
		}
		if _, err := s.Hold(m.Key("k")); !errors.Is(err, manager.ErrNotAcquired) {
			t.Errorf("the error is %v", err)
		}
		if err := lock.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestACallOnAServerThatIsClosed(t *testing.T) {
	s := locktest.NewServer()
	s.Close()
	if _, err := s.Open(t.Context()); err == nil {
		t.Error("a closed server is opened")
	}
	s = locktest.NewServer()
	m, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
