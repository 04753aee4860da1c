package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/lockkeeper/internal/job"
	"github.com/lockkeeper/lockkeeper/manager"
)

// signalError is a signal that came before the command ran.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string { return "ended by signal: " + e.String() }

// signals are what this process gets. Until the command runs the first ends the wait; then they are the command's.
type signals struct {
	// Sent by os/signal, which drops what does not fit; received by endOn's goroutine, and when that has ended by the job; never closed.
	arrived chan os.Signal
	// Closed by handOver, when the job is to receive; received by endOn's goroutine; nothing is sent.
	over chan struct{}
	// Closed by endOn's goroutine at its end; received by handOver; nothing is sent.
	ended chan struct{}
}

func catchSignals() *signals {
	s := &signals{arrived: make(chan os.Signal, 16), over: make(chan struct{}), ended: make(chan struct{})}
	signal.Notify(s.arrived, job.ForwardedSignals()...)
	// Nobody receives: a message for a standard error that is closed is to be dropped, and not to end this process, since its end kills the command.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return s
}

// endOn cancels at the first signal that ends a program. Joined by handOver, or else with the process.
func (s *signals) endOn(cancel context.CancelCauseFunc) {
	go func() {
		defer close(s.ended)
		for {
			select {
			case got := <-s.arrived:
				if number, ok := got.(syscall.Signal); ok && job.Ends(got) {
					cancel(signalError{number})
				} else { // the others are for the command
					job.StopBy(got)
				}
			case <-s.over:
				return
			}
		}
	}()
}

// handOver lets the job receive.
func (s *signals) handOver() {
	close(s.over)
	<-s.ended
}

func (s *signals) stop() { signal.Stop(s.arrived) }

// holding is one acquisition and what is run under it.
type holding struct {
	*runPlan
	m        *manager.Manager
	signals  *signals
	watchdog *job.Watchdog
	started  bool
	period   time.Time
	endedBy  os.Signal // that ended the command, nil if none did
}

// held is what all kinds of locks have.
type held interface {
	job.Hold
	Release(ctx context.Context) error
}

// contextHold is the hold of a function that the library runs: its context ends with it.
type contextHold struct{ context.Context } //nolint:containedctx // it is the hold

func (h contextHold) Err() error { return context.Cause(h.Context) }

// work acquires the lock, runs the command under it, and releases it. ctx ends at a signal that comes before the command runs.
func (h *holding) work(ctx context.Context) (status int, err error) {
	if h.once > 0 {
		return h.workOnce(ctx)
	}
	var opts []manager.AcquireOption
	if h.bounded {
		opts = append(opts, manager.WithWaitTimeout(h.timeout))
	}
	if h.token {
		opts = append(opts, manager.WithToken())
	}
	stop := h.tellOfWaiting(ctx)
	lock, env, err := h.acquire(ctx, opts)
	stop()
	if err != nil {
		return 0, err
	}
	status, err = h.runCommand(ctx, lock, env)
	if releaseErr := h.release(ctx, lock); releaseErr != nil && err == nil && status != exitLost {
		h.tell("the release was not confirmed, the server ends the session: %s", trimName(releaseErr.Error()))
	}
	return status, err
}

func (h *holding) release(ctx context.Context, lock held) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancel()
	err := lock.Release(ctx)
	h.say("released %s", h.names())
	return err
}

func (h *holding) names() string { return printable(strings.Join(h.keys, " ")) }

// acquire takes the lock. env is what the command is told of it.
func (h *holding) acquire(ctx context.Context, opts []manager.AcquireOption) (lock held, env []string, err error) {
	key := h.m.Key(h.keys[0])
	switch {
	case len(h.keys) > 1 && h.try:
		lock, err = some(h.m.Keys(h.keys...).TryAcquire(ctx, opts...))
	case len(h.keys) > 1:
		lock, err = some(h.m.Keys(h.keys...).Acquire(ctx, opts...))
	case h.slots > 0:
		acquire := h.m.AcquireSlot
		if h.try {
			acquire = h.m.TryAcquireSlot
		}
		slot, err := acquire(ctx, h.keys[0], h.slots, opts...)
		if err != nil {
			return nil, nil, err
		}
		return slot, []string{"LOCKKEEPER_SLOT=" + strconv.Itoa(slot.Number())}, nil
	case h.shared && h.try:
		lock, err = some(key.TryAcquireShared(ctx, opts...))
	case h.shared:
		lock, err = some(key.AcquireShared(ctx, opts...))
	case h.try:
		lock, err = some(key.TryAcquire(ctx, opts...))
	default:
		lock, err = some(key.Acquire(ctx, opts...))
	}
	if fenced, ok := lock.(manager.Fenced); ok && h.token {
		env = append(env, "LOCKKEEPER_TOKEN="+strconv.FormatInt(fenced.Token(), 10))
	}
	return lock, env, err
}

// some keeps a nil pointer from being a lock.
func some[L held](lock L, err error) (held, error) {
	if err != nil {
		return nil, err
	}
	return lock, nil
}

// runCommand runs the command under a hold.
func (h *holding) runCommand(ctx context.Context, lock job.Hold, env []string) (status int, err error) {
	h.signals.handOver()
	if cause, ok := errors.AsType[signalError](context.Cause(ctx)); ok { // it came at the same moment
		return 0, cause
	}
	h.say("acquired %s", h.names())
	ids := make([]string, len(h.keys))
	for i, key := range h.keys {
		ids[i] = strconv.FormatInt(h.m.Key(key).ID(), 10)
	}
	for _, own := range []string{"LOCKKEEPER_KEY=" + strings.Join(h.keys, "\n"), "LOCKKEEPER_ID=" + strings.Join(ids, "\n")} {
		if len(own) <= longestVariable {
			env = append(env, own)
		}
	}
	env = append(inherited(), env...)
	result, err := job.Run(job.Command{
		Path: h.path, Args: h.command, Env: env, Grace: h.grace, Signals: h.signals.arrived, Tell: h.tell, Settle: h.settle,
	}, lock, h.watchdog)
	if err != nil {
		return 0, cannotRun(h.command[0], err)
	}
	h.started, h.endedBy = true, result.EndedBy
	if result.Lost {
		return exitLost, nil
	}
	return result.Status, nil
}

// longestVariable is what Linux gives a program at most, in bytes, with the name and without the NUL (MAX_ARG_STRLEN): more of one variable, as the ids of
// 6,400 keys are, and the command could not be started.
const longestVariable = 128<<10 - 1

// ownVariables tell the command about its lock.
var ownVariables = []string{"LOCKKEEPER_KEY", "LOCKKEEPER_ID", "LOCKKEEPER_TOKEN", "LOCKKEEPER_SLOT", "LOCKKEEPER_PERIOD"}

// inherited is this process's environment without what another lockkeeper, under which this one runs, has told of its own lock: a token
// of that lock beside the key of this one would be wrong, and of a name that is there twice some programs see the first.
func inherited() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(ownVariables, name)
	})
}

// settle asks the server something. When the answer is there, so is the end of a session that the server ended before.
func (h *holding) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), askBound)
	defer cancel()
	_, _ = h.m.Locks(ctx) // a server that cannot be reached is not trusted for long
}

// workOnce runs the command in one of all who call this in the period, and stays until that is over.
func (h *holding) workOnce(ctx context.Context) (status int, err error) {
	err = h.m.Once(ctx, h.keys[0], h.once, func(ctx context.Context) (err error) {
		h.period, _ = manager.PeriodOf(ctx)
		status, err = h.runCommand(ctx, contextHold{ctx}, []string{"LOCKKEEPER_PERIOD=" + h.period.UTC().Format(time.RFC3339)})
		return err
	})
	if !h.started {
		return 0, err
	}
	if err != nil { // of the release: the session was lost
		if status != exitLost {
			h.tell("%s", trimName(err.Error()))
		}
		return status, nil
	}
	h.stay(h.period.Add(h.once + h.clockSkew))
	return status, nil
}

// stay keeps the session, and so the lock of the period, until a signal that ends a program: also one that has ended the command.
func (h *holding) stay(until time.Time) {
	if h.endedBy != nil {
		h.releaseEarly(h.endedBy)
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	if h.forPerson() {
		h.tell("the command has ended; the period's lock is kept until %s", until.UTC().Format(time.RFC3339))
	}
	for {
		select {
		case got := <-h.signals.arrived:
			if job.Ends(got) {
				h.releaseEarly(got)
				return
			}
			job.StopBy(got)
		case <-timer.C:
			return
		}
	}
}

// releaseEarly tells that the lock, which the end of the session releases, is not kept for the period.
func (h *holding) releaseEarly(got os.Signal) {
	h.tell("%v: the period's lock is released before the period is over; another may run the command again", got)
}
