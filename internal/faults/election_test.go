package faults

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// ballot is who leads in an election of several managers: two at one time, whose contexts live, are one too many.
type ballot struct {
	t     *testing.T
	terms chan int // who begins a term

	mu    sync.Mutex
	alive map[int]context.Context
}

// campaign has a manager campaign until ctx ends. A term ends with its context.
func (b *ballot) campaign(ctx context.Context, m *manager.Manager, who int) error {
	return m.Elect(ctx, "leader", func(ctx context.Context) error {
		b.begins(ctx, who)
		b.terms <- who
		<-ctx.Done()
		return nil
	})
}

func (b *ballot) begins(ctx context.Context, who int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for other, term := range b.alive {
		if term.Err() == nil {
			b.t.Errorf("%d leads, and the context of %d lives", who, other)
		}
	}
	b.alive[who] = ctx //nolint:fatcontext // it is kept, and no child is made of it
}

func (b *ballot) term(who int) context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.alive[who]
}

// The primary dies under a leader, its standby is promoted, and one of the others, or the same, leads there.
func TestElectionOverFailovers(t *testing.T) {
	c := newCluster(t)
	audit(t, c.standby)
	b := &ballot{t: t, terms: make(chan int, 100), alive: make(map[int]context.Context)}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	managers := []*manager.Manager{open(t, c.both(t)), open(t, c.both(t)), open(t, c.both(t))}
	returned := make(chan error, len(managers))
	for who, m := range managers {
		go func() { returned <- b.campaign(ctx, m, who) }()
	}
	first := ended(t, "the first term", b.terms)
	if err := managers[first].Leader("leader").IsLeader(ctx); err != nil {
		t.Error(err)
	}
	died := time.Now()
	if err := c.primary.SignalAll(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended(t, "the end of the term", b.term(first).Done())
	told := time.Since(died)
	if cause := context.Cause(b.term(first)); !errors.Is(cause, manager.ErrLost) {
		t.Errorf("the term has ended for %v", cause)
	}
	c.promote(t)
	promoted := time.Now()
	second := ended(t, "the first term on the new primary", b.terms)
	t.Logf("the leader was told %v after its primary was killed; there was another %v after the promotion", told, time.Since(promoted))
	// Here leaders resign, one after the other.
	for range 20 {
		h, err := managers[second].Leader("leader").Current(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		term := b.term(second)
		if err := managers[second].Leader("leader").Resign(bounded(t)); err != nil {
			t.Fatal(err)
		}
		ended(t, "the end of the term", term.Done())
		next := ended(t, "the next term", b.terms)
		if now, err := managers[next].Leader("leader").Current(bounded(t)); err != nil || now.Since.Equal(h.Since) {
			t.Errorf("after %+v leads %+v, %v", h, now, err)
		}
		second = next
	}
	stop()
	for range managers {
		if err := ended(t, "the return of Elect", returned); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
