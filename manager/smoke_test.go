package manager_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func TestSmoke(t *testing.T) {
	s := pgtest.Shared(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx := context.Background()
	m, err := manager.Open(ctx, s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Acquire(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.TryAcquire(ctx, "a"); err == nil {
		t.Fatal("twice")
	} else {
		t.Log(err)
	}
	if err := l.Release(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 10, 100, 1000} {
		var wg sync.WaitGroup
		start := time.Now()
		stop := start.Add(time.Second)
		total := make([]int, n)
		for i := range n {
			wg.Go(func() {
				k := m.Key(fmt.Sprint("key", i))
				for time.Now().Before(stop) {
					l, err := k.Acquire(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					if err := l.Release(ctx); err != nil {
						t.Error(err)
						return
					}
					total[i]++
				}
			})
		}
		wg.Wait()
		sum := 0
		for _, x := range total {
			sum += x
		}
		t.Logf("%d goroutines: %.0f pairs/s", n, float64(sum)/time.Since(start).Seconds())
	}
	{
		n := 100
		var wg sync.WaitGroup
		start := time.Now()
		stop := start.Add(time.Second)
		total := make([]int, n)
		for i := range n {
			wg.Go(func() {
				k := m.Key("one")
				for time.Now().Before(stop) {
					l, err := k.Acquire(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					if err := l.Release(ctx); err != nil {
						t.Error(err)
						return
					}
					total[i]++
				}
			})
		}
		wg.Wait()
		sum := 0
		for _, x := range total {
			sum += x
		}
		t.Logf("one key %d goroutines: %.0f pairs/s", n, float64(sum)/time.Since(start).Seconds())
	}
	t.Logf("%+v", m.Stats())
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
