package actor

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// A program may hold a hundred thousand locks: what each costs must not be a goroutine, whether it is held or lingers.
func TestKeepersThatRestHaveNoGoroutine(t *testing.T) {
	const keys = 2000
	d := NewDirectory(Config{
		Store:     &instantStore{freshSession{time.Now().Add(time.Hour)}},
		Limits:    Limits{MaxWaiters: 10, QuantumTime: time.Second, QuantumGrants: 100},
		Intensity: IntensityLimit{Restarts: 5, Window: 10 * time.Second},
		MaxKeys:   keys, Linger: time.Hour,
	})
	before := runtime.NumGoroutine()
	claims := make([]*Claim, keys)
	for i := range claims {
		c := new(Claim)
		c.Terms = key(int64(i))
		c.Init(d)
		d.Submit(c)
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			c.End(ErrReleased)
			<-c.Settled()
		}
	}
	if n := runtime.NumGoroutine() - before; n > keys/10 {
		t.Errorf("%d goroutines for %d keys", n, keys)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.Close(ctx); err != nil {
		t.Error(err)
	}
	if keys := d.Counters.Keys.Load(); keys != 0 {
		t.Errorf("%d keys are left", keys)
	}
}
