package actor

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"
)

// instantStore is a database that costs nothing: what is left is what keepers and the directory cost.
type instantStore struct{ session freshSession }

// freshSession is trusted for as long as a benchmark lasts.
type freshSession struct{ until time.Time }

func (s *freshSession) TrustedUntil() time.Time { return s.until }
func (s *freshSession) Lost() error             { return nil }
func (s *freshSession) PID() uint32             { return 1 }

func (s *instantStore) Attach(_ int64, events chan<- Event) Link {
	return &instantLink{store: s, events: events}
}

// instantLink answers before the call has returned.
type instantLink struct {
	store  *instantStore
	events chan<- Event
}

var yes = &Answer{OK: true}

func (l *instantLink) Try(_ bool)              { l.events <- Answered{yes} }
func (l *instantLink) Unlock(*Hint)            { l.events <- Answered{yes} }
func (l *instantLink) TryOwn(_ bool)           { l.events <- Answered{yes} }
func (l *instantLink) Wait(_ bool)             { l.events <- Answered{yes} }
func (l *instantLink) Poll(_, _, _ bool)       { l.events <- Answered{yes} }
func (l *instantLink) Reserve(_, _ bool)       { l.events <- Reserved{yes} }
func (l *instantLink) Withdraw()               {}
func (l *instantLink) StopPolling()            {}
func (l *instantLink) Lend(any)                {}
func (l *instantLink) Pace(bool)               {}
func (l *instantLink) Tell(*Hint)              {}
func (l *instantLink) Return()                 {}
func (l *instantLink) Ask()                    {}
func (l *instantLink) Unsent() <-chan struct{} { return nil }
func (l *instantLink) Session() Session        { return &l.store.session }
func (l *instantLink) Own() Session            { return nil }

func instantSupervisor(tb testing.TB) *Supervisor {
	tb.Helper()
	s := NewSupervisor(Config{
		Store:     &instantStore{freshSession{time.Now().Add(24 * time.Hour)}},
		Limits:    Limits{MaxWaiters: 100_000, HandOffTime: 20 * time.Millisecond, HandOffGrants: 10_000},
		Intensity: IntensityLimit{Restarts: 5, Window: 10 * time.Second},
		MaxKeys:   1 << 30, IdleTimeout: time.Hour,
	})
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// hold takes a lock and returns the claim that has it.
func hold(b *testing.B, s *Supervisor, t Terms) *Claim {
	c := &Claim{Terms: t}
	c.Owner = quiet{}
	if err := s.Submit(c); err != nil {
		b.Error(err)
	}
	if <-c.Replies(); c.Err != nil {
		b.Error(c.Err)
	}
	return c
}

func drop(b *testing.B, c *Claim) {
	c.Release(nil)
	if err := c.Outcome(); err != nil {
		b.Error(err)
	}
}

// One key, one caller: the keeper's cost of a pair.
func BenchmarkKeeper(b *testing.B) {
	s := instantSupervisor(b)
	terms := key(1)
	b.ReportAllocs()
	for b.Loop() {
		drop(b, hold(b, s, terms))
	}
}

// One key, many callers: the lock is handed off locally.
func BenchmarkHandOff(b *testing.B) {
	for _, callers := range []int{2, 100, 10_000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := instantSupervisor(b)
			terms := key(1)
			b.ReportAllocs()
			inTurns(b, callers, func(int) { drop(b, hold(b, s, terms)) })
			b.StopTimer()
			local := s.Counters.GrantsLocal.Load()
			b.ReportMetric(float64(local)/float64(local+s.Counters.GrantsServer.Load()), "local-share")
		})
	}
}

// As many keys in use as this, of which one is taken after the other: what it costs to find the keeper.
func BenchmarkSupervisor(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run("keys="+strconv.Itoa(n), func(b *testing.B) {
			s := instantSupervisor(b)
			terms := make([]Terms, n)
			for i := range terms {
				// The ids that hashing makes are spread like this.
				terms[i] = key(int64(uint64(i+1) * 0x9E3779B97F4A7C15))
				drop(b, hold(b, s, terms[i]))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				drop(b, hold(b, s, terms[i]))
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// A key that nobody has used yet: what a new keeper costs, its goroutine included.
func BenchmarkFirstUse(b *testing.B) {
	s := instantSupervisor(b)
	b.ReportAllocs()
	id := int64(0)
	for b.Loop() {
		id++
		drop(b, hold(b, s, Terms{Name: "key", ID: id, MaxAttempts: 10}))
	}
}

// inTurns runs b.N calls on so many goroutines, which all exist from the beginning.
func inTurns(b *testing.B, callers int, call func(caller int)) {
	b.Helper()
	left := make(chan struct{}, callers)
	work := make(chan int, callers)
	for i := range callers {
		go func() {
			for n := range work {
				for range n {
					call(i)
				}
			}
			left <- struct{}{}
		}()
	}
	b.ResetTimer()
	for i := range callers {
		n := b.N / callers
		if i < b.N%callers {
			n++
		}
		work <- n
	}
	close(work)
	for range callers {
		<-left
	}
}
