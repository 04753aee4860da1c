package manager

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// foreign is a context that package context does not know, without a way to register but a goroutine.
type foreign struct{ inner context.Context }

func (c foreign) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c foreign) Done() <-chan struct{}       { return c.inner.Done() }
func (c foreign) Err() error                  { return c.inner.Err() }
func (c foreign) Value(any) any               { return nil }

// registering is a foreign context that one registers with. Its own stop function may be called once.
type registering struct {
	foreign
	f       func()
	stopped int
	deed    func()
}

func (c *registering) AfterFunc(f func()) (stop func() bool) {
	c.f = f
	return func() bool {
		if c.stopped++; c.deed != nil {
			c.deed()
		}
		return true
	}
}

// Package context takes a registration back twice where a derived context ends by its timer and is cancelled.
func TestARegistrationThatIsTakenBackTwice(t *testing.T) {
	inner, cancel := context.WithCancel(t.Context())
	for name, c := range map[string]context.Context{
		"a goroutine": foreign{inner}, "the context's own": &registering{foreign: foreign{inner}},
	} {
		called := make(chan struct{})
		p := &parent{Context: c, done: c.Done()}
		stop := p.AfterFunc(func() { close(called) })
		if first, again := stop(), stop(); !first || again {
			t.Errorf("%s: stop reports %v, and then %v", name, first, again)
		}
		if own, ok := c.(*registering); ok {
			if own.f(); own.stopped != 1 { // it was late
				t.Errorf("the context's own stop function was called %d times", own.stopped)
			}
		}
		if isClosed(called) {
			t.Errorf("%s: the function was called after it was taken back", name)
		}
	}
	cancel()
	for name, c := range map[string]context.Context{"a goroutine": foreign{inner}, "the context's own": &registering{foreign: foreign{inner}}} {
		called := make(chan struct{})
		p := &parent{Context: c, done: c.Done()}
		stop := p.AfterFunc(func() { close(called) })
		if own, ok := c.(*registering); ok {
			own.f()
		}
		<-called
		if first, again := stop(), stop(); first || again {
			t.Errorf("%s: stop reports %v, and then %v, after the function was called", name, first, again)
		}
	}
}

// The context's own stop function panics, or ends the goroutine: whoever stops then is not kept waiting.
func TestAStopFunctionThatMisbehaves(t *testing.T) {
	for name, deed := range map[string]func(){"panics": func() { panic("the user's context") }, "exits": runtime.Goexit} {
		p := &parent{Context: &registering{foreign: foreign{t.Context()}, deed: deed}, done: t.Context().Done()}
		stop := p.AfterFunc(func() {})
		over := make(chan struct{})
		go func() {
			defer close(over)
			defer func() { _ = recover() }()
			stop()
		}()
		<-over
		if stop() {
			t.Errorf("%s: the registration was taken back twice", name)
		}
	}
}
