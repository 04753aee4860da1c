package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// acquire is acquire of the manager, which the observer is told of.
func (k Key) acquire(ctx context.Context, t actor.Terms, opts []AcquireOption) (*Lock, error) {
	o := &k.m.observing
	observed := o.begin(ctx, Acquisition{Key: k.name, ID: k.id, Keys: 1, Shared: t.Shared})
	lock, err := k.m.acquire(ctx, k, t, opts)
	o.finish(observed, lock, err)
	return lock, err
}

// acquire is what Acquire, TryAcquire and Do have in common. All of it runs on the caller's goroutine.
func (m *Manager) acquire(ctx context.Context, k Key, t actor.Terms, opts []AcquireOption) (*Lock, error) {
	if ctx == nil {
		return nil, fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	if k.second != k.id {
		return m.acquireBoth(ctx, k, t, opts)
	}
	o := collect(opts)
	l := &Lock{manager: m, parent: parent{Context: ctx, done: ctx.Done()}}
	l.outer, _ = ctx.Value(heldKey{}).(*Lock)
	if l.claim.Terms = t; t.Owner == nil {
		l.claim.Owner = (*lockOwner)(l)
	}
	retry, err := m.terms(ctx, k, &o, l)
	if err != nil {
		return nil, m.failure(k, &l.claim, err, 0)
	}
	if l.claim.Hold == actor.HoldForWork {
		l.holdContext() // before Submit: from then on contextEnded and the keeper may end it
	}
	start := time.Now()
	var inside *insideWait
	if (l.outer != nil || len(o.before) > 0) && !l.claim.Try {
		if inside, err = m.beginWait(l, k, o.before); err != nil {
			return nil, m.failure(k, &l.claim, err, 0)
		}
		defer inside.end()
	}
	if err = m.supervisor.Submit(&l.claim); err == nil {
		inside.watch()
		err = l.wait(ctx, &o, retry)
	}
	waited := l.claim.Granted.Sub(start)
	if err == nil && t.Owner == nil && o.set == nil && m.fences(&o) { // a set's is drawn when all its locks are held
		err = l.drawAlone(ctx, &o, start)
		waited = time.Since(start)
	}
	if err != nil {
		waited = time.Since(start)
	}
	m.waits.Record(waited)
	if err != nil {
		return nil, m.failure(k, &l.claim, err, waited)
	}
	l.acquired.Store(true)
	if over := l.claim.Over(); over != nil && !errors.Is(over, ErrReleased) { // it ended before holdEnds could see that it is acquired
		l.unregister()
		if l.endedCleanly() {
			l.markEnded()
		}
	}
	return l, nil
}

// terms says what an acquisition asks for; the error says why there will be none.
func (m *Manager) terms(ctx context.Context, k Key, o *acquireOptions, l *Lock) (*RetryPolicy, error) {
	retry := o.policy(m)
	if o.retry != nil {
		if err := o.retry.validate(); err != nil {
			return nil, err
		}
	}
	bad := o.checkWaitTimeout()
	switch {
	case k.name == "":
		return nil, ErrEmptyKey
	case bad != nil:
		return nil, bad
	case o.minHold < 0:
		return nil, fmt.Errorf("WithMinHold is %v: it must not be negative", o.minHold)
	case o.minHold > 0 && l.claim.Shared:
		return nil, errors.New("WithMinHold is not for a shared lock")
	case l.claim.Shared && m.fences(o):
		return nil, errSeveral
	case o.transitions != nil && !o.leads:
		return nil, errTransitions
	case ctx.Err() != nil:
		return nil, contextReason(ctx)
	case m.closing.Load():
		return nil, ErrClosed
	}
	if err := l.outer.refuses(k, l.claim.Try); err != nil {
		return nil, err
	}
	t := &l.claim.Terms
	t.Name, t.ID, t.Dedicated, t.MinHold = k.name, k.id, o.dedicated, o.minHold
	t.PollFirst, t.MaxAttempts = retry.PollFirst, retry.Attempts
	l.set = o.set
	if l.detached = o.detach; l.detached && t.Hold == actor.HoldWithContext {
		t.Hold = actor.HoldDetached
	}
	if o.once = o.bounded && o.waitTimeout == 0 && !t.Try; o.once {
		t.Try = true
	}
	t.Deadline, _ = ctx.Deadline()
	if o.waitTimeout > 0 {
		if by := time.Now().Add(o.waitTimeout); t.Deadline.IsZero() || by.Before(t.Deadline) {
			t.Deadline = by
		}
	}
	return retry, nil
}

// wait waits for the keeper's decision. The keeper decides at the latest when ctx has ended.
func (l *Lock) wait(ctx context.Context, o *acquireOptions, retry *RetryPolicy) error {
	returned := false
	defer func() {
		if !returned {
			l.abandon()
		}
	}()
	l.register()
	if o.waitTimeout > 0 {
		timer := time.AfterFunc(o.waitTimeout, func() { l.claim.Withdraw(ErrWaitTimeout) })
		defer timer.Stop()
	}
	if <-l.claim.Replies() == actor.AskPause {
		l.pausing(retry)
	}
	l.claim.Received()
	err := l.claim.Err
	if o.once && err == ErrNotAcquired { //nolint:errorlint // that very value; others have more to say
		err = ErrWaitTimeout
	}
	if err == nil && ctx.Err() != nil { // it ended just as the lock was granted
		l.claim.ReleaseUnused()
		err = contextReason(ctx)
	}
	if err != nil || l.detached {
		l.unregister() // which may run code of the context's: where that panics, the lock is nobody's
	}
	returned = true
	return err
}

// decision waits for the keeper's decision on a try, receives it, and returns the claim's error. It comes at the latest when ctx has ended, or
// over is closed: that is nil if there is no such time.
func decision(ctx context.Context, over <-chan struct{}, c *actor.Claim) error {
	done := ctx.Done()
	for {
		select {
		case r := <-c.Replies():
			if r == actor.Decided {
				c.Received()
				return c.Err
			}
		case <-done:
			done = nil
			c.Withdraw(contextReason(ctx))
		case <-over:
			over = nil
			c.Withdraw(ErrWaitTimeout)
		}
	}
}

func (m *Manager) failure(k Key, c *actor.Claim, reason error, waited time.Duration) error {
	err := &AcquireError{Key: k.name, ID: k.id, Shared: c.Shared, Reason: reason, Attempts: c.Attempts, Waited: waited, Holder: c.Holder,
		Failures: c.Failures}
	m.refused.count(err)
	return err
}

// refused is the failure of an acquisition for which no keeper was asked.
func (k Key) refused(reason error, waited time.Duration) error {
	return k.m.failure(k, &actor.Claim{}, reason, waited)
}

// Do runs f while holding the lock. f's context ends when ctx does, unless [WithDetachedHold] is given, when the lock is lost, and
// when the manager is closed; f should return then. The lock is released when f has returned, and not before: only the loss of its session ends the hold
// under a running f. The error joins f's own with [ErrLost] where that happened: what f did may have overlapped. A panic in f
// passes through, after the lock has been released. Locks are not reentrant: Acquire or Do of the same key in f, with f's context,
// returns [ErrHeld].
func (m *Manager) Do(ctx context.Context, key string, f func(ctx context.Context) error, opts ...AcquireOption) error {
	return m.Key(key).do(ctx, actor.Terms{Hold: actor.HoldForWork}, f, opts)
}

// errNoFunction: the lock is not acquired for nothing.
var errNoFunction = errors.New("the function to run is nil")

func (k Key) do(ctx context.Context, t actor.Terms, f func(context.Context) error, opts []AcquireOption) (err error) {
	if f == nil {
		return k.refused(errNoFunction, 0)
	}
	lock, err := k.acquire(ctx, t, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.releaseWork()) }()
	return f(lock.Context())
}

// releaseWork releases the lock of Do. It waits for the outcome whatever has become of ctx: a server that does not answer is given
// up when trust in it ends.
func (l *Lock) releaseWork() error {
	_ = l.Err() // which looks at the clock
	return l.Release(context.WithoutCancel(l.parent.Context))
}
