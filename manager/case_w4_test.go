package manager_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

var errHangUp = errors.New("the client hangs up")

// stubborn is an f of Do that does not look at its context: it is in until the test lets it out.
type stubborn struct {
	in       chan struct{} // closed when f runs
	told     chan struct{} // closed when f's context has ended
	out      chan struct{} // closed by leave
	leave    func()
	cause    error // of the end of f's context; read after told
	finished atomic.Bool
}

func newStubborn(t *testing.T) *stubborn {
	t.Helper()
	b := &stubborn{in: make(chan struct{}), told: make(chan struct{}), out: make(chan struct{})}
	b.leave = sync.OnceFunc(func() { close(b.out) })
	t.Cleanup(b.leave)
	return b
}

func (b *stubborn) run(ctx context.Context) {
	close(b.in)
	<-ctx.Done()
	b.cause = context.Cause(ctx)
	close(b.told)
	<-b.out
	b.finished.Store(true)
}

// goesOn makes round trips on the holder's own manager, and wants another process to be refused the key all along.
func goesOn(t *testing.T, m, other *manager.Manager, key string) {
	t.Helper()
	for i := range 50 {
		takeAndRelease(t, m, fmt.Sprint("meanwhile ", i))
		tryAndFail(t, other, key)
		if t.Failed() {
			return
		}
	}
}

var errOwn = errors.New("f's own")

// waysOut are how f may end.
var waysOut = map[string]struct {
	leave func() error
	check func(t *testing.T, got *fate[struct{}])
}{
	"returns nil": {func() error { return nil }, func(t *testing.T, got *fate[struct{}]) {
		if got.panicked != nil || got.exited {
			t.Errorf("Do: %v", got)
		}
	}},
	"returns an error": {func() error { return errOwn }, func(t *testing.T, got *fate[struct{}]) { wantIs(t, got.err, errOwn) }},
	"panics": {func() error { panic(panicText) }, func(t *testing.T, got *fate[struct{}]) {
		if got.panicked != panicText {
			t.Errorf("Do: %v", got)
		}
	}},
	"exits": {func() error { exit(); return nil }, func(t *testing.T, got *fate[struct{}]) {
		if !got.exited {
			t.Errorf("Do: %v", got)
		}
	}},
}

// W4. The context of Do ends, f's ends with it, and f takes its time. The lock is f's until f has returned, whatever it
// returns by.
func TestW4LockOutlastsContextUntilFReturns(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context) (context.Context, func()){
		"cancelled": func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(errHangUp) }
		},
		"deadline": func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeoutCause(ctx, 500*time.Millisecond, errHangUp)
			return ctx, func() { <-ctx.Done(); cancel() }
		},
	} {
		for way, out := range waysOut {
			t.Run(name+", f "+way, func(t *testing.T) {
				s, m, other, third := server(t), open(t), open(t), open(t)
				var hangUp func()
				var f *stubborn
				var do <-chan *fate[struct{}]
				for in := false; !in; { // again where a busy machine has not come to f before the deadline
					ctx, over := end(bounded(t))
					running := newStubborn(t)
					hangUp, f = over, running
					do = fateOf(only(func() error {
						return m.Do(ctx, "job", func(ctx context.Context) error { running.run(ctx); return out.leave() })
					}))
					select {
					case <-f.in:
						in = true
					case got := <-do:
						if !errors.Is(got.err, context.DeadlineExceeded) {
							t.Fatal(got)
						}
					}
				}
				tryAndFail(t, other, "job")
				waiting := acquiring(bounded(t), t, other, "job")
				eventually(t, "another waits", func() bool { return isEnded(f.told) || queued(t, s, m.Key("job").ID()) == 1 })
				hangUp()
				ended(t, "f's context ends at once", f.told)
				wantIs(t, f.cause, errHangUp)
				goesOn(t, m, third, "job")
				if len(waiting) > 0 {
					t.Error("another is in while f is")
				}
				f.leave()
				if got, ok := inTime(t, "Do ends", do); ok {
					out.check(t, got)
					if errors.Is(got.err, manager.ErrLost) {
						t.Errorf("nothing was lost: %v", got.err)
					}
				}
				if got, ok := inTime(t, "the next holder is in", waiting); ok && got.err == nil {
					release(t, got.lock)
				}
			})
		}
	}
}

// W4. The same with each option, and for a second process that waits.
func TestW4SecondProcess(t *testing.T) {
	for name, opts := range map[string][]manager.AcquireOption{
		"plain": nil, "dedicated": {manager.WithDedicatedSession()}, "wait timeout": {manager.WithWaitTimeout(patience)},
		"poll first": {plainRetry},
	} {
		t.Run(name, func(t *testing.T) {
			s, m := server(t), open(t)
			ctx, cancel := context.WithCancelCause(bounded(t))
			f := newStubborn(t)
			do := fateOf(only(func() error {
				return m.Do(ctx, "job", func(ctx context.Context) error { f.run(ctx); return nil }, opts...)
			}))
			ended(t, "f runs", f.in)
			child := childtest.Start(t, "hold", dsn(s), "job")
			id := m.Key("job").ID()
			eventually(t, "the other process waits", func() bool { return queued(t, s, id) == 1 })
			cancel(errHangUp)
			ended(t, "f's context ends", f.told)
			if pid := held(t, s)[id]; !askedAgain(t, s, pid, 1, func() bool { return !child.Quiet() }) || !child.Quiet() {
				t.Error("a second process is in while f is")
			}
			f.leave()
			inTime(t, "Do ends", do)
			expect(t, child, "held")
			ends(t, child)
		})
	}
}

// W4. The client tries again whenever it has hung up. No two handlers are inside one order at once.
func TestW4ClientThatRetries(t *testing.T) {
	m := open(t)
	meanwhile := func() {
		for i := range 10 {
			takeAndRelease(t, m, fmt.Sprint("meanwhile ", i))
		}
	}
	var inside, most atomic.Int64
	var fs []*stubborn
	var dos []<-chan *fate[struct{}]
	for range 3 {
		ctx, cancel := context.WithCancelCause(bounded(t))
		f := newStubborn(t)
		fs = append(fs, f)
		dos = append(dos, fateOf(only(func() error {
			return m.Do(ctx, "order", func(ctx context.Context) error {
				most.Store(max(most.Load(), inside.Add(1)))
				defer inside.Add(-1)
				f.run(ctx)
				return nil
			})
		})))
		eventually(t, "the handler is in, or waits", func() bool { return isEnded(f.in) || m.Stats().Waiting == 1 })
		meanwhile() // it may be in by now, if it may be in at all
		cancel(errHangUp)
		eventually(t, "the handler knows, or its wait is over", func() bool { return isEnded(f.told) || m.Stats().Waiting == 0 })
		meanwhile()
	}
	if n := most.Load(); n != 1 {
		t.Errorf("%d handlers were inside one order at once", n)
	}
	for i, f := range fs {
		f.leave()
		inTime(t, "Do ends", dos[i])
	}
	takeAndRelease(t, m, "order")
}

// W4. Only a loss ends the hold under a running f: f's context ends with that cause, and Do's error says so, also where the
// caller's context had ended before.
func TestW4LossUnderRunningF(t *testing.T) {
	for name, hangUpFirst := range map[string]bool{"loss alone": false, "loss after the end of the context": true} {
		for way, own := range map[string]error{"nil": nil, "an error": errOwn} {
			t.Run(name+", f returns "+way, func(t *testing.T) {
				s, m, other := server(t), open(t), open(t)
				ctx, cancel := context.WithCancelCause(bounded(t))
				defer cancel(nil)
				f := newStubborn(t)
				do := fateOf(only(func() error {
					return m.Do(ctx, "job", func(ctx context.Context) error { f.run(ctx); return own })
				}))
				ended(t, "f runs", f.in)
				if hangUpFirst {
					cancel(errHangUp)
					ended(t, "f's context ends", f.told)
				}
				endHolder(t, s, m.Key("job").ID())
				ended(t, "f's context ends", f.told)
				if !hangUpFirst {
					wantIs(t, f.cause, manager.ErrLost)
				}
				takeAndRelease(t, other, "job")                                                // it is lost: somebody else may have it, while f is still in
				eventually(t, "the manager knows", func() bool { return m.Stats().Held == 0 }) // f's context may have ended before
				f.leave()
				if got, ok := inTime(t, "Do ends", do); ok {
					wantIs(t, got.err, manager.ErrLost)
					if own != nil {
						wantIs(t, got.err, own)
					}
				}
			})
		}
	}
}

// endHolder ends the backend that holds an id.
func endHolder(t *testing.T, s *pgserver.Server, id int64) {
	t.Helper()
	pid := held(t, s)[id]
	if pid == 0 {
		t.Fatal("nobody holds the lock")
	}
	terminate(t, s, pid)
	eventually(t, "the backend is gone", func() bool { return held(t, s)[id] != pid })
}
