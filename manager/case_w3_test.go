package manager_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// shutdown is what all contexts of one HTTP server share, as valyala/fasthttp has it: one channel, closed at shutdown.
type shutdown struct {
	done chan struct{}
	mu   sync.Mutex
	tell []func() // registered by AfterFunc
}

func newShutdown() *shutdown { return &shutdown{done: make(chan struct{})} }

func (s *shutdown) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.done)
	for _, f := range s.tell {
		go f()
	}
}

// recycled is a request's context. After the request it is given to another, and must not be touched any more.
type recycled struct {
	server  *shutdown
	mu      sync.Mutex
	gone    bool
	touched []string
}

func (c *recycled) touch(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		c.touched = append(c.touched, method)
	}
}

func (c *recycled) Deadline() (time.Time, bool) { c.touch("Deadline"); return time.Time{}, false }
func (c *recycled) Value(any) any               { c.touch("Value"); return nil }

// Done is the same channel for all: to ask for it is no harm, and the context package does so when it gets to it.
func (c *recycled) Done() <-chan struct{} { return c.server.done }

func (c *recycled) Err() error {
	c.touch("Err")
	if isEnded(c.server.done) {
		return context.Canceled
	}
	return nil
}

func (c *recycled) recycle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
}

func (c *recycled) touches() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.touched)
}

// registering is one that the context package registers with, instead of starting a goroutine.
type registering struct {
	*recycled
	ever, now int // under mu
}

func (c *registering) AfterFunc(f func()) (stop func() bool) {
	c.touch("AfterFunc")
	once := sync.OnceFunc(f)
	c.server.mu.Lock()
	if isEnded(c.server.done) { // as context.AfterFunc has it: f is called at once
		go once()
	}
	c.server.tell = append(c.server.tell, once)
	c.server.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ever++
	c.now++
	stopped := false
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if stopped || isEnded(c.server.done) {
			return false
		}
		stopped = true
		c.now--
		return true
	}
}

// want wants at most one registration to have been made, and none to be left.
func (c *registering) want(t *testing.T, what string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ever > 1 || c.now != 0 && !isEnded(c.server.done) {
		t.Errorf("%s: %d registrations, %d of them left", what, c.ever, c.now)
	}
}

// handler is what somebody does with a lock under a request's context. The context is recycled when it returns.
type handler struct {
	name string
	run  func(ctx context.Context, e *requests) error
}

// requests is where handlers run.
type requests struct {
	t        *testing.T
	s        *pgserver.Server
	m, other *manager.Manager
	server   *shutdown
}

func (e *requests) with(ctx context.Context, after func(*manager.Lock) error, opts ...manager.AcquireOption) error {
	lock, err := e.m.Acquire(ctx, "k", opts...)
	if err != nil {
		return err
	}
	return after(lock)
}

// busy runs f while another process holds the key.
func (e *requests) busy(f func() error, want error) error {
	theirs := acquire(e.t, e.other, "k")
	defer release(e.t, theirs)
	if err := f(); !errors.Is(err, want) {
		return fmt.Errorf("%w instead of %w", err, want)
	}
	return nil
}

var handlers = []handler{
	{"Do", func(ctx context.Context, e *requests) error {
		return e.m.Do(ctx, "k", func(ctx context.Context) error { return ctx.Err() })
	}},
	{"Do whose f panics", func(ctx context.Context, e *requests) error {
		defer func() { _ = recover() }()
		return e.m.Do(ctx, "k", func(context.Context) error { panic("f") })
	}},
	{"Acquire and Release", func(ctx context.Context, e *requests) error {
		return e.with(ctx, func(lock *manager.Lock) error { return lock.Release(bounded(e.t)) })
	}},
	{"Release with the same context", func(ctx context.Context, e *requests) error {
		return e.with(ctx, func(lock *manager.Lock) error { return lock.Release(ctx) })
	}},
	{"Release with a context that has ended", func(ctx context.Context, e *requests) error {
		past, cancel := context.WithCancel(bounded(e.t))
		cancel()
		return e.with(ctx, func(lock *manager.Lock) error {
			if err := lock.Release(past); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		})
	}},
	{"a dedicated session", func(ctx context.Context, e *requests) error {
		return e.with(ctx, func(lock *manager.Lock) error { return lock.Release(ctx) }, manager.WithDedicatedSession())
	}},
	{"the lock's context, and one derived from it", func(ctx context.Context, e *requests) error {
		return e.with(ctx, func(lock *manager.Lock) error {
			derived, cancel := context.WithCancel(lock.Context())
			defer cancel()
			return errors.Join(derived.Err(), lock.Release(ctx))
		})
	}},
	{"TryAcquire that fails", func(ctx context.Context, e *requests) error {
		return e.busy(func() error { _, err := e.m.TryAcquire(ctx, "k"); return err }, manager.ErrNotAcquired)
	}},
	{"a wait that times out", func(ctx context.Context, e *requests) error {
		return e.busy(func() error {
			_, err := e.m.Acquire(ctx, "k", manager.WithWaitTimeout(20*time.Millisecond))
			return err
		}, manager.ErrWaitTimeout)
	}},
	{"a poll that times out", func(ctx context.Context, e *requests) error {
		return e.busy(func() error {
			_, err := e.m.Acquire(ctx, "k", plainRetry, manager.WithWaitTimeout(20*time.Millisecond))
			return err
		}, manager.ErrWaitTimeout)
	}},
	{"no key", func(ctx context.Context, e *requests) error {
		if _, err := e.m.Acquire(ctx, ""); !errors.Is(err, manager.ErrEmptyKey) {
			return err
		}
		return nil
	}},
	{"a wait that is granted", func(ctx context.Context, e *requests) error {
		theirs := acquire(e.t, e.other, "k")
		waiting := acquiring(ctx, e.t, e.m, "k")
		release(e.t, theirs)
		got := ended(e.t, "the grant", waiting)
		return errors.Join(got.err, got.lock.Release(ctx))
	}},
	{"a loss", func(ctx context.Context, e *requests) error {
		return e.with(ctx, func(lock *manager.Lock) error {
			terminate(e.t, e.s, held(e.t, e.s)[lock.ID()])
			ended(e.t, "the loss", lock.Context().Done())
			if err := lock.Release(ctx); !errors.Is(err, manager.ErrLost) {
				return err
			}
			return nil
		})
	}},
}

// endings are handlers that run while the HTTP server shuts down.
var endings = []handler{
	{"ends while holding", func(ctx context.Context, e *requests) error {
		return e.with(ctx, func(lock *manager.Lock) error {
			e.server.begin()
			ended(e.t, "the end of the hold", lock.Context().Done())
			_ = lock.Release(ctx)
			return lock.Release(bounded(e.t))
		})
	}},
	{"ends while f runs", func(ctx context.Context, e *requests) error {
		return e.m.Do(ctx, "k", func(ctx context.Context) error { e.server.begin(); <-ctx.Done(); return nil })
	}},
	{"ends while waiting", func(ctx context.Context, e *requests) error {
		return e.busy(func() error {
			waiting := acquiring(ctx, e.t, e.m, "k")
			e.server.begin()
			return ended(e.t, "the end of the wait", waiting).err
		}, context.Canceled)
	}},
}

// W3. No context is touched after Release, Do or a failed Acquire has returned, neither then nor at the shutdown.
func TestW3RecycledContexts(t *testing.T) {
	s := server(t)
	check := func(t *testing.T, e *requests, h handler) {
		var all []*recycled
		for range 3 {
			ctx := &recycled{server: e.server}
			if err := h.run(ctx, e); err != nil {
				t.Error(err)
			}
			ctx.recycle()
			all = append(all, ctx)
			if isEnded(e.server.done) {
				break
			}
		}
		// The goroutine of a registration that was taken back just now may still be on its way out.
		if !pollFor(soon, func() bool { return contextGoroutines() == 0 }) {
			t.Error("somebody waits for the end of a context that was given back")
		}
		if !isEnded(e.server.done) {
			e.server.begin()
		}
		takeAndRelease(t, e.m, "after the shutdown")
		closesNow(t, e.m)
		eventually(t, "nobody waits for a context", func() bool { return contextGoroutines() == 0 })
		for _, ctx := range all {
			if touched := ctx.touches(); len(touched) > 0 {
				t.Errorf("touched after it was given back: %v", touched)
			}
		}
	}
	for _, h := range append(slices.Clone(handlers), endings...) {
		t.Run(h.name, func(t *testing.T) {
			check(t, &requests{t, s, open(t), open(t), newShutdown()}, h)
		})
	}
}

// W3. An acquisition registers with its context once at most, and the registration is gone when the call that ends it
// returns: Release, Do, or the failed Acquire.
func TestW3OneRegistration(t *testing.T) {
	s := server(t)
	for _, h := range append(slices.Clone(handlers), endings...) {
		t.Run(h.name, func(t *testing.T) {
			e := &requests{t, s, open(t), open(t), newShutdown()}
			for i := range 3 {
				ctx := &registering{recycled: &recycled{server: e.server}}
				if err := h.run(ctx, e); err != nil {
					t.Error(err)
				}
				ctx.want(t, fmt.Sprint("request ", i))
				ctx.recycle()
				if isEnded(e.server.done) {
					break
				}
			}
		})
	}
}

// pollFor is poll with a bound of its own.
func pollFor(d time.Duration, done func() bool) bool {
	by := time.Now().Add(d)
	return poll(func() bool { return done() || time.Now().After(by) }) && done()
}

// contextGoroutines counts the goroutines that wait for contexts of foreign types: the context package's, and the manager's.
func contextGoroutines() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), "context.(*cancelCtx).propagateCancel.func") +
		strings.Count(string(stacks), "manager.(*parent).AfterFunc.func")
}

// W3. The program of the report: after its requests the HTTP server shuts down, and the program lives on.
func TestW3ProgramOutlivesShutdown(t *testing.T) {
	s := server(t)
	leakFree(t, s)
	child := childtest.Start(t, "recycle", dsn(s))
	expect(t, child, "requests done")
	child.Say(t, "shut down")
	expect(t, child, "alive")
	ends(t, child)
}

// reset is a context as fasthttp's: Err reads a field that is reset after the request.
type reset struct {
	context.Context
	server *shutdown
	mu     sync.Mutex
	err    error
}

func (c *reset) Done() <-chan struct{} { return c.server.done }

func (c *reset) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isEnded(c.server.done) {
		return c.err
	}
	return nil
}

func childRecycle(args []string) error {
	bound, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := manager.Open(bound, args[0])
	if err != nil {
		return err
	}
	server := newShutdown()
	for range 3 {
		ctx := &reset{Context: context.Background(), server: server, err: context.Canceled}
		err = errors.Join(err, m.Do(ctx, "order", func(ctx context.Context) error { return ctx.Err() }))
		ctx.mu.Lock()
		ctx.err = nil
		ctx.mu.Unlock()
	}
	pollFor(time.Second, func() bool { return contextGoroutines() == 0 })
	fmt.Fprintln(os.Stdout, "requests done")
	var line string
	if _, scan := fmt.Scanln(&line); scan != nil && line == "" {
		return scan
	}
	server.begin()
	err = errors.Join(err, m.Do(bound, "after", func(context.Context) error { return nil }), m.Close(bound))
	fmt.Fprintln(os.Stdout, "alive")
	return err
}
