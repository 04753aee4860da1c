package chaos

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

// observerBound is how long an observer may take to be told of the last transition.
const observerBound = 30 * time.Second

// candidate campaigns for the leadership of a key.
type candidate struct {
	user
	e         *entry // of the campaign, or of the last term
	wait      *wait
	terms     int
	ended     int64          // the last term
	releasing bool           // the last term's lock is being released, and the outcome not recorded
	resigning sync.WaitGroup // calls of Resign

	mu   sync.Mutex
	told []manager.Transition
}

// campaign leads for a term, and for another one where it resigns or loses the first.
func (u user) campaign(e *entry) bool {
	ctx, w := u.arm(context.Background(), e)
	defer w.cancel()
	c := &candidate{user: u, e: e, wait: w}
	e.begin()
	err := u.locks.Elect(ctx, keyName(e.keys[0]), c.lead, manager.WithTransitions(c.observe))
	alive := u.disarm(w)
	c.resigning.Wait()
	c.checkTold()
	switch {
	case c.terms == 0:
		return u.refused(e, err, alive)
	case c.releasing && errors.Is(err, context.Canceled): // it says nothing of the release
		c.e.let(history.Unknown, history.NoCause)
	case c.releasing:
		u.let(c.e, err, nil)
	case err != nil && !errors.Is(err, context.Canceled):
		u.count("elect", err)
	}
	return true
}

// lead is a term.
func (c *candidate) lead(ctx context.Context) error {
	if c.releasing { // the term ended when it was over anyway; nobody is told what became of the release
		c.e.let(history.Unknown, history.NoCause)
	}
	if c.terms++; c.terms > 1 {
		c.e = &entry{r: c.e.r, use: c.e.use, keys: c.e.keys, room: 1}
		c.e.beginAt(c.ended)
	}
	defer c.e.listen(ctx)()
	defer func() { c.ended = now() }()
	if c.releasing = c.disarm(c.wait); !c.releasing {
		c.e.refused(history.Cancelled)
		return nil
	}
	defer c.rearm(c.wait)
	h := work{ctx: ctx}
	if c.releasing = c.e.granted(h); !c.releasing {
		return nil
	}
	if c.terms == 1 && c.IntN(2) == 0 {
		after := time.Duration(c.Int64N(int64(2 * c.job.Hold)))
		c.resigning.Go(func() { c.resign(ctx, after) })
	}
	switch {
	case c.work(c.e, h):
		c.e.letting(now())
		return nil
	case c.e.resigned: // the lock is held until this returns; but of its loss nobody would be told
		c.e.letting(c.e.looked)
		c.e.let(history.Unknown, history.NoCause)
	}
	c.releasing = false
	return nil
}

func (c *candidate) resign(term context.Context, after time.Duration) {
	if interrupt.Sleep(term, after) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseBound)
	defer cancel()
	if err := c.locks.Leader(keyName(c.e.keys[0])).Resign(ctx); err != nil && !errors.Is(err, manager.ErrNotLeader) {
		c.broken("a resignation: %v", err)
	}
}

func (c *candidate) observe(t manager.Transition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, t)
}

// checkTold waits for the observer to hear of the beginning and of the end of each term, in this order.
func (c *candidate) checkTold() {
	ctx, cancel := context.WithTimeout(context.Background(), observerBound)
	defer cancel()
	_ = until(ctx, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.told) >= 2*c.terms
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	right := len(c.told) == 2*c.terms
	for i, t := range c.told {
		right = right && t.Leads == (i%2 == 0)
	}
	if !right {
		c.broken("of %d terms the observer was told %+v", c.terms, c.told)
	}
}
