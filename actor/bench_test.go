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

func (s *instantStore) Attach(_ int64, o Observer) Link { return &instantLink{store: s, observer: o} }

// instantLink answers before the call has returned, as a session at rest might.
type instantLink struct {
	store    *instantStore
	observer Observer
}

func (l *instantLink) Try()                        { l.observer.Answered(Answer{OK: true}) }
func (l *instantLink) Unlock()                     { l.observer.Answered(Answer{OK: true}) }
func (l *instantLink) TryReserved()                { l.observer.Answered(Answer{OK: true}) }
func (l *instantLink) Wait()                       { l.observer.Answered(Answer{OK: true}) }
func (l *instantLink) Poll()                       { l.observer.Answered(Answer{OK: true}) }
func (l *instantLink) Reserve(_, _ bool)           { l.observer.Reserved(Answer{OK: true}) }
func (l *instantLink) Withdraw()                   {}
func (l *instantLink) Abandon()                    {}
func (l *instantLink) GiveBack()                   {}
func (l *instantLink) Ask()                        {}
func (l *instantLink) Gone() error                 { return nil }
func (l *instantLink) Session() Session            { return &l.store.session }
func (l *instantLink) Detach()                     {}
func (l *instantLink) Attend(<-chan struct{}) bool { return false }
func (l *instantLink) Unattended()                 {}

func benchDirectory(b *testing.B) *Directory {
	b.Helper()
	d := NewDirectory(Config{
		Store:     &instantStore{freshSession{time.Now().Add(24 * time.Hour)}},
		Limits:    Limits{MaxWaiters: 100_000, QuantumTime: 20 * time.Millisecond, QuantumGrants: 10_000},
		Intensity: IntensityLimit{Restarts: 5, Window: 10 * time.Second},
		MaxKeys:   1 << 30, Linger: time.Hour,
	})
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			b.Error(err)
		}
	})
	return d
}

// hold takes a lock and returns the claim that has it.
func hold(b *testing.B, d *Directory, t Terms) *Claim {
	c := new(Claim)
	c.Terms = t
	c.Init(d)
	d.Submit(c)
	if err := c.Wait(); err != nil {
		b.Error(err)
	}
	return c
}

func letGo(b *testing.B, c *Claim) {
	c.End(ErrReleased)
	c.Await(nil, false)
	if err := c.Outcome(); err != nil {
		b.Error(err)
	}
}

// One key, one caller: the keeper's cost of a pair.
func BenchmarkKeeper(b *testing.B) {
	d := benchDirectory(b)
	terms := key(1)
	b.ReportAllocs()
	for b.Loop() {
		letGo(b, hold(b, d, terms))
	}
}

// One key, many callers: the lock goes from hand to hand.
func BenchmarkHandOff(b *testing.B) {
	for _, callers := range []int{2, 100, 10_000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := benchDirectory(b)
			terms := key(1)
			b.ReportAllocs()
			inTurns(b, callers, func(int) { letGo(b, hold(b, d, terms)) })
			b.StopTimer()
			local := d.Counters.GrantsLocal.Load()
			b.ReportMetric(float64(local)/float64(local+d.Counters.GrantsServer.Load()), "local-share")
		})
	}
}

// As many keys in use as this, of which one is taken after the other: what it costs to find the keeper.
func BenchmarkDirectory(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run("keys="+strconv.Itoa(n), func(b *testing.B) {
			d := benchDirectory(b)
			terms := make([]Terms, n)
			for i := range terms {
				// The ids that hashing makes are spread like this.
				terms[i] = key(int64(uint64(i+1) * 0x9E3779B97F4A7C15))
				letGo(b, hold(b, d, terms[i]))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				letGo(b, hold(b, d, terms[i]))
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// A key that nobody has used yet: what a new keeper costs, its goroutine included.
func BenchmarkFirstUse(b *testing.B) {
	d := benchDirectory(b)
	b.ReportAllocs()
	id := int64(0)
	for b.Loop() {
		id++
		letGo(b, hold(b, d, Terms{Name: "key", ID: id, MaxAttempts: 10, NewBackoff: linear}))
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
