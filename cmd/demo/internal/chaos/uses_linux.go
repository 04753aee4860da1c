package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	// maxSet bounds how many keys a set has.
	maxSet = 5
	// period is that of Once: each process runs some of the jobs in it.
	period = 2 * time.Second
	// observerBound is how long an observer may take to be told of the last transition.
	observerBound = 30 * time.Second
)

var (
	errNoRow     = errors.New("it has no row")
	errStatement = errors.New("a statement of the transaction failed")
)

// broken notes something that must not be, and which the history does not show.
func (p *player) broken(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (u user) takeSet(e *entry) bool {
	e.keys = u.Perm(u.job.Keys)[:min(u.job.Keys, 1+u.IntN(maxSet))]
	var names []string
	for _, key := range e.keys {
		names = append(names, keyName(key))
	}
	set := u.locks.Keys(names...)
	var opts []manager.AcquireOption
	call := set.Acquire
	switch {
	case u.IntN(8) == 0:
		e.flags = history.Try
		call = set.TryAcquire
	case u.IntN(4) == 0:
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+u.IntN(200))*time.Millisecond))
	}
	return u.take(context.Background(), e, func(ctx context.Context) (held, error) { return call(ctx, opts...) })
}

// nestedKeys is how many of the keys are for nested holds: few, so that they wait for each other in circles.
func nestedKeys(keys int) int { return min(keys, 2+keys/16) }

// goInside takes another key inside of the hold, and reports whether this is held still. Now and then it asks for one that it holds.
func (u user) goInside(e *entry, h held) bool {
	if e.inside == 0 {
		return true
	}
	key := u.IntN(nestedKeys(u.job.Keys))
	in := &entry{r: e.r, use: e.use, keys: []int{key}, room: 1, inside: e.inside - 1, outer: e}
	if !e.holds(key) {
		u.waitInside(h, in)
	} else if _, err := u.locks.Acquire(h.Context(), keyName(key)); h.Err() == nil && !errors.Is(err, manager.ErrHeld) {
		u.broken("an acquisition inside of a hold of the same key ended with %v", err)
	}
	return e.look(h)
}

// holds reports whether the entry's hold, or one that it is inside of, is of the key.
func (e *entry) holds(key int) bool {
	return e != nil && (slices.Contains(e.keys, key) || e.outer.holds(key))
}

// circleBound is how long a circle of two waits in this process may last before somebody is told.
const circleBound = 100 * time.Millisecond

// waitInside takes a key inside of a hold. If it has waited for long in vain it looks whether the holder has waited for a key of its own
// meanwhile: then one of the two had to be told at once.
func (u user) waitInside(h held, in *entry) {
	began := time.Now()
	if u.takeKey(h.Context(), in); in.looked > 0 || time.Since(began) < circleBound {
		return
	}
	other := u.circle(in)
	if other == nil {
		return
	}
	_ = interrupt.Sleep(h.Context(), circleBound) // it may have been told, and not have had the processor
	if u.circle(in) == other {
		u.broken("two holders waited for each other, for keys %d and %d, and neither was told", in.keys[0], other.e.keys[0])
	}
}

// circle returns a wait for a key that the entry is inside of, by a holder of its own key, if that has lasted for long.
func (p *player) circle(in *entry) *wait {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiting {
		if w.e.outer.holds(in.keys[0]) && in.outer.holds(w.e.keys[0]) && time.Since(w.since) > circleBound {
			return w
		}
	}
	return nil
}

// work is the hold while which a function of Once or Elect runs: its context is all that it knows.
type work struct {
	held
	ctx context.Context //nolint:containedctx // a hold is a lifetime
}

func (w work) Context() context.Context { return w.ctx }

func (w work) Err() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}

// runOnce runs a job, of which there is one for each key, unless somebody has in this period.
func (u user) runOnce(e *entry) bool {
	ctx, w := u.arm(context.Background(), e)
	defer w.cancel()
	asked, ran := now(), false
	err := u.locks.Once(ctx, fmt.Sprint("job/", e.keys[0]), period, func(ctx context.Context) error {
		defer e.listen(ctx)()
		begin, _ := manager.PeriodOf(ctx)
		e.period = uint32(begin.UnixNano() / int64(period))
		e.beginAt(asked)
		if !u.disarm(w) {
			e.refused(history.Cancelled)
			return nil
		}
		h := work{ctx: ctx}
		if ran = e.granted(h) && u.work(e, h); ran {
			e.letting(now())
		}
		return nil
	})
	alive := u.disarm(w)
	switch {
	case ran:
		u.let(e, err, nil)
	case e.period == 0:
		e.period = uint32(time.Now().UnixNano() / int64(period)) // for a liar
		e.begin()
		return u.refused(e, err, alive)
	}
	return true
}

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

// transaction is a transaction of the worker's own, which holds a key's lock. It believes that it does because of its statements' answers.
type transaction struct{ pgx.Tx }

func (transaction) Context() context.Context { return context.Background() }

func (t transaction) Err() error {
	return t.do(func(ctx context.Context) error { return t.run(ctx, "SELECT 1") })
}

func (t transaction) Release(ctx context.Context) error { return t.Rollback(ctx) }

func (t transaction) run(ctx context.Context, sql string) error {
	_, err := t.Exec(ctx, sql)
	return err
}

// do bounds a statement.
func (transaction) do(statement func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementBound)
	defer cancel()
	if err := statement(ctx); err != nil {
		return fmt.Errorf("%w: %w", errStatement, err)
	}
	return nil
}

// transact takes a key's lock in a transaction.
func (u user) transact(e *entry) bool {
	if e.use == plan.SharedTx {
		e.room = history.Everyone
	}
	var t transaction
	err := t.do(func(ctx context.Context) (err error) {
		t.Tx, err = u.txs.Begin(ctx)
		return err
	})
	if err != nil {
		u.count("begin", err)
		return false
	}
	defer func() { _ = release(t) }() // after a commit this does nothing
	opts := []manager.TxOption{manager.WithNamespace(namespace)}
	if e.room > 1 {
		opts = append(opts, manager.WithSharedTx())
	}
	call := manager.AcquireTx
	switch u.IntN(4) {
	case 0:
		e.flags = history.Try
		call = manager.TryAcquireTx
	case 1, 2:
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+u.IntN(200))*time.Millisecond))
	}
	ctx, w := u.arm(context.Background(), e)
	defer w.cancel()
	e.begin()
	err = call(ctx, t, keyName(e.keys[0]), opts...)
	alive := u.disarm(w)
	if err == nil { // by the answer alone it does not know that it still holds
		if e.granted(t) {
			u.workInside(e, t)
		}
		return true
	}
	if refused, _ := errors.AsType[*pgconn.PgError](t.Err()); refused != nil && refused.Code == "25P02" && errors.Is(err, manager.ErrWaitTimeout) {
		u.broken("%v: it left the transaction unusable", err)
	}
	return u.refused(e, err, alive)
}

// workInside does in a transaction what work does beside a hold. Whether the hold lasted until the commit is known when that has been answered.
func (u user) workInside(e *entry, t transaction) {
	key := e.keys[0]
	var n, again int64
	err := t.do(func(ctx context.Context) (err error) { n, err = read(ctx, t, key); return err })
	if err != nil {
		e.lost(history.ByStatement)
		return
	}
	if !u.holdOn(e, t) {
		return
	}
	stale, outcome, sent := false, history.OK, now()
	err = t.do(func(ctx context.Context) (err error) {
		if e.room > 1 {
			again, err = read(ctx, t, key)
			return err
		}
		return t.QueryRow(ctx, writeRow, key, n+1).Scan(&stale)
	})
	if err == nil {
		e.looked = sent
		sent = now()
		if err = t.do(t.Commit); err != nil {
			outcome = history.Unknown
		}
		switch {
		case e.room == 1:
			e.wrote(e.looked, stale, outcome)
		case again != n:
			e.reread()
		}
	}
	if err != nil {
		e.lost(history.ByStatement)
		return
	}
	e.letting(sent)
	e.let(history.OK, history.NoCause)
}
