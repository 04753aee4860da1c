package manager_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// W21. A context whose methods panic, or end the goroutine, in Release: all that is held has been released, or another Release does it. Nothing
// of a set is free while the set says that it is held.
func TestW21_AContextThatMisbehavesInRelease(t *testing.T) {
	type hold interface {
		Release(ctx context.Context) error
		Err() error
	}
	m := open(t)
	for kind, acquire := range map[string]func(ctx context.Context, key string) (hold, error){
		"lock": func(ctx context.Context, key string) (hold, error) { return m.Acquire(ctx, key) },
		"set":  func(ctx context.Context, key string) (hold, error) { return m.AcquireAll(ctx, key, key+" too") },
		"slot": func(ctx context.Context, key string) (hold, error) { return m.AcquireSlot(ctx, key, 1) },
	} {
		for how, deed := range map[string]func(){"panics": func() { panic("the user's context") }, "exits": runtime.Goexit} {
			for _, method := range []string{"Done", "Err", "Value", "stop"} {
				for from := range int64(4) {
					for _, same := range []bool{true, false} {
						key := fmt.Sprint(kind, how, method, from, same)
						var bad atomic.Bool
						odd := func() *oddContext {
							return &oddContext{Context: t.Context(), method: method, deed: func() {
								if bad.Load() {
									deed()
								}
							}}
						}
						ctx := odd()
						h, err := acquire(ctx, key)
						if err != nil {
							t.Fatal(err)
						}
						if !same {
							ctx = odd()
						}
						ctx.calls.Store(0)
						ctx.from = from + 1
						bad.Store(true)
						_, _ = inTime(t, key, fateOf(only(func() error { return h.Release(ctx) })))
						bad.Store(false)
						if h.Err() == nil {
							for _, other := range []string{key, key + " too"} {
								lock, err := m.TryAcquire(bounded(t), other)
								if err != nil {
									continue
								}
								release(t, lock)
								if other == key || kind == "set" {
									t.Errorf("%s: the hold goes on, and %q is free", key, other)
								}
							}
						}
						if err := h.Release(bounded(t)); err != nil {
							t.Errorf("%s: another release: %v", key, err)
						}
						takeAndRelease(t, m, key)
						takeAndRelease(t, m, key+" too")
					}
				}
			}
		}
	}
}
