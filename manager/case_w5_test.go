package manager_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

func exit() { runtime.Goexit() }

// stays wants another process to be refused the key, many times.
func stays(t *testing.T, other *manager.Manager, key string) {
	t.Helper()
	for range 100 {
		if tryAndFail(t, other, key); t.Failed() {
			return
		}
	}
}

// W5. Close while f of Do runs: f's context ends, the lock stays f's, Close waits. A Close whose context ends first says
// which keys still run, and another one succeeds when f has returned.
func TestW5CloseWaitsForF(t *testing.T) {
	for way, out := range waysOut {
		t.Run("f "+way, func(t *testing.T) {
			m, other := open(t), open(t)
			fs := map[string]*stubborn{"job/1": newStubborn(t), "job/2": newStubborn(t)}
			var dos []<-chan *fate[struct{}]
			for key, f := range fs {
				dos = append(dos, fateOf(only(func() error {
					return m.Do(bounded(t), key, func(ctx context.Context) error { f.run(ctx); return out.leave() })
				})))
				ended(t, "f runs", f.in)
			}
			acquire(t, m, "held by Acquire")

			ctx, cancel := context.WithCancel(bounded(t))
			closing := fateOf(only(func() error { return m.Close(ctx) }))
			for key, f := range fs {
				ended(t, "f's context ends", f.told)
				wantIs(t, f.cause, manager.ErrClosed)
				stays(t, other, key)
			}
			_, err := m.Acquire(bounded(t), "late")
			wantIs(t, err, manager.ErrClosed)
			eventually(t, "the other key is released", func() bool { return m.Stats().Keys == len(fs) })
			if len(closing) > 0 {
				t.Error("Close has returned while f runs")
			}
			cancel()
			if got, ok := inTime(t, "Close returns with its context", closing); ok {
				wantIs(t, got.err, context.Canceled)
				for _, key := range []string{"job/1", "job/2"} {
					if got.err == nil || !strings.Contains(got.err.Error(), key) {
						t.Errorf("Close does not say that %s still runs: %v", key, got.err)
					}
				}
				if got.err != nil && strings.Contains(got.err.Error(), "held by Acquire") {
					t.Errorf("Close names a key under which nothing runs: %v", got.err)
				}
			}

			again := fateOf(only(func() error { return m.Close(bounded(t)) }))
			for key, f := range fs {
				stays(t, other, key)
				f.leave()
			}
			if got, ok := inTime(t, "the second Close returns", again); ok && got.err != nil {
				t.Errorf("the second Close: %v", got)
			}
			for _, do := range dos {
				if got, ok := inTime(t, "Do ends", do); ok {
					out.check(t, got)
				}
			}
			for _, f := range fs {
				if !f.finished.Load() {
					t.Error("Close returned before f did")
				}
			}
			for key := range fs {
				takeAndRelease(t, other, key)
			}
		})
	}
}

// W5. An f that minds its context lets Close end by itself.
func TestW5CloseEndsF(t *testing.T) {
	m, other := open(t), open(t)
	in := make(chan struct{})
	do := fateOf(only(func() error {
		return m.Do(bounded(t), "job", func(ctx context.Context) error { close(in); <-ctx.Done(); return context.Cause(ctx) })
	}))
	ended(t, "f runs", in)
	closesNow(t, m)
	if got, ok := inTime(t, "Do ends", do); ok {
		wantIs(t, got.err, manager.ErrClosed)
		if errors.Is(got.err, manager.ErrLost) {
			t.Errorf("nothing was lost: %v", got.err)
		}
	}
	takeAndRelease(t, other, "job")
}

// W5. Close within f cannot wait for f: it returns with its context and says so. Whoever closes after that succeeds.
func TestW5CloseWithinF(t *testing.T) {
	m, other := open(t), open(t)
	do := fateOf(only(func() error {
		return m.Do(bounded(t), "job", func(fctx context.Context) error {
			ctx, cancel := context.WithCancel(context.WithoutCancel(fctx))
			defer cancel()
			stop := context.AfterFunc(fctx, cancel)
			defer stop()
			err := m.Close(ctx)
			stays(t, other, "job")
			if err == nil || !strings.Contains(err.Error(), "job") {
				t.Errorf("Close within f: %v", err)
			}
			return nil
		})
	}))
	inTime(t, "Do ends", do)
	closesNow(t, m)
	takeAndRelease(t, other, "job")
}

// W5. The context of Do has ended before Close, and f still runs: Close waits for it all the same.
func TestW5CloseAfterContextEnded(t *testing.T) {
	m, other := open(t), open(t)
	ctx, hangUp := context.WithCancelCause(bounded(t))
	f := newStubborn(t)
	do := fateOf(only(func() error {
		return m.Do(ctx, "job", func(ctx context.Context) error { f.run(ctx); return nil })
	}))
	ended(t, "f runs", f.in)
	hangUp(errHangUp)
	ended(t, "f's context ends", f.told)
	closing := fateOf(only(func() error { return m.Close(bounded(t)) }))
	stays(t, other, "job")
	if len(closing) > 0 {
		t.Error("Close has returned while f runs")
	}
	f.leave()
	if got, ok := inTime(t, "Close returns", closing); ok && got.err != nil {
		t.Errorf("Close: %v", got)
	}
	inTime(t, "Do ends", do)
	takeAndRelease(t, other, "job")
}
