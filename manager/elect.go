package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockkeeper/lockkeeper/actor"
)

// Transition is a change between leading and not leading.
type Transition struct {
	// Leads: a term begins; else it ends.
	Leads bool
	At    time.Time
	// Cause of the end: [ErrLost], [ErrResigned], [ErrClosed] or what ended Elect's context; nil where f returned by itself.
	Cause error
}

// Elect campaigns for the leadership of a key and runs f while this process leads; of all processes that use the database one leads at
// a time. f's context ends when the term does: by loss of the session, by [Leader.Resign], by the end of ctx, and at Close. The key is
// released when f has returned, and not before, as by Do. After a loss or a resignation Elect campaigns again, a tenth of a second later:
// behind all who wait.
//
// Elect returns when ctx has ended or the manager is closed, with that as the error; when f has returned although its term had not
// ended, with what f returned; and when f returns an error of its own, one that is not its context's. While the server cannot be
// reached, or one of the limits is met, it goes on campaigning, with pauses of up to five seconds. The options are those of Acquire;
// [WithTransitions] observes. Any number of processes, and callers in each, may campaign for a key.
func (m *Manager) Elect(ctx context.Context, key string, f func(ctx context.Context) error, opts ...AcquireOption) error {
	o := collect(opts)
	if f == nil {
		return m.Key(key).refused(errNoFunction, 0)
	}
	e := &election{manager: m, key: m.Key(key), f: f, transitions: observer{manager: m, key: key, f: o.transitions}}
	e.opts = append(append(e.opts, opts...), func(o *acquireOptions) { o.leads = true })
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(campaignPause), backoff.WithMaxInterval(campaignPauseMost),
		backoff.WithMaxElapsedTime(0))
	for {
		observed := m.observing.begin(ctx, Acquisition{Key: key, ID: e.key.id, Keys: 1, Leads: true})
		lock, err := m.acquire(ctx, e.key, actor.Terms{Hold: actor.HoldForWork}, e.opts)
		m.observing.finish(observed, lock, err)
		if err == nil {
			pauses.Reset()
			if again, err := e.lead(lock); !again {
				return err
			}
		} else if !passes(err) {
			return err
		} else {
			m.log.campaign(key, err)
		}
		if err := m.pause(ctx, pauses.NextBackOff()); err != nil {
			return e.key.refused(err, 0)
		}
	}
}

// The pauses before the next campaign, with jitter, begin with the first and grow to the other as long as campaigns fail. After a term
// there is one too: who has resigned lets those have their turn who poll for the key.
const (
	campaignPause     = 100 * time.Millisecond
	campaignPauseMost = 5 * time.Second
)

// passes reports whether a later campaign may go better.
func passes(err error) bool {
	if errors.Is(err, ErrNotMigrated) {
		return false
	}
	for _, passing := range []error{ErrNoToken, ErrAttempts, ErrKeeperFailed, ErrTooManyWaiters, ErrTooManyKeys, ErrTooManyLocks} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// pause waits for d, or until ctx or the manager ends. It runs on the caller's goroutine.
func (m *Manager) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextReason(ctx)
	case <-m.closed:
		return ErrClosed
	}
}

// election is one call of Elect. Its goroutine is the caller's.
type election struct {
	manager     *Manager
	key         Key
	f           func(context.Context) error
	opts        []AcquireOption
	transitions observer
}

// lead is one term. It reports whether the campaign goes on, else what Elect returns.
func (e *election) lead(lock *Lock) (again bool, err error) {
	lock.leading.Store(true)
	over := e.watch(lock)
	returned := false
	defer func() { // f may panic, or end its goroutine
		if !returned {
			_ = over()
			_ = lock.releaseWork()
		}
	}()
	err = e.f(lock.Context())
	returned = true
	cause := over()
	released := lock.releaseWork()
	switch {
	case cause == nil:
		return false, errors.Join(err, released)
	case err != nil && !errors.Is(err, cause) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return false, errors.Join(err, released)
	case errors.Is(cause, ErrLost), errors.Is(cause, ErrResigned):
		return true, nil
	default: // the end of ctx, or Close
		return false, fmt.Errorf("elect %s (id %d): %w", quoteKey(e.key.name), e.key.id, cause)
	}
}

// watch tells of the beginning of a term, and of its end when that comes: f may go on for longer. over ends the term where nothing has,
// and returns what did.
func (e *election) watch(lock *Lock) (over func() (cause error)) {
	e.transitions.tell(Transition{Leads: true, At: lock.claim.Granted})
	quit := make(chan struct{})  // closed by over; received by the goroutine; nothing is sent
	ended := make(chan error, 1) // sent by the goroutine; received by over; never closed; capacity 1: one cause
	hold := context.Context(lock.holdContext())
	// Joined by over, through ended.
	go func() {
		var cause error
		select {
		case <-hold.Done():
			cause = context.Cause(hold)
		case <-quit:
			if hold.Err() != nil { // which looks at the clock
				cause = context.Cause(hold)
			}
		}
		e.transitions.tell(Transition{At: time.Now(), Cause: cause})
		ended <- cause
	}()
	return func() error {
		close(quit)
		return <-ended
	}
}

// observer tells the user's function of transitions: each call on a goroutine of its own, after the one before has returned. It is used by
// one goroutine at a time.
type observer struct {
	manager *Manager
	key     string
	f       func(Transition)
	last    <-chan struct{} // closed by the goroutine of the last call; received by that of the next; nothing is sent
}

func (o *observer) tell(t Transition) {
	if o.f == nil {
		return
	}
	before, done := o.last, make(chan struct{})
	o.last = done
	o.manager.background.Go(func() {
		returned := false
		defer close(done)
		defer func() { // which panics, or ends its goroutine
			if !returned {
				o.manager.log.observer(o.key, recover())
			}
		}()
		if before != nil {
			<-before
		}
		o.f(t)
		returned = true
	})
}
