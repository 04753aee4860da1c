package lockotel_test

import (
	"context"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/manager"
	lockotel "github.com/lockkeeper/lockkeeper/otel"
)

// Where an observer watches several managers, figures are added, and one that leads is enough.
func TestSeveralManagers(t *testing.T) {
	inBubble(t, func(r *rig) {
		other, err := r.server.Open(r.Context(), manager.WithObserver(r.observer))
		if err != nil {
			r.Fatal(err)
		}
		stop, err := r.observer.Watch(other)
		if err != nil {
			r.Fatal(err)
		}
		ctx, cancel := context.WithCancel(r.Context())
		for _, leads := range []*manager.Manager{r.m, other} { // the first that is watched, and the last
			ended, began := make(chan error), make(chan struct{})
			campaign, resign := context.WithCancel(ctx)
			go func() {
				ended <- leads.Elect(campaign, "scheduler", func(term context.Context) error {
					close(began)
					<-term.Done()
					return nil
				})
			}()
			<-began
			r.wantPoints("lockkeeper.leader", map[string]string{"lockkeeper.leader.key=scheduler": "1"})
			r.wantPoints("lockkeeper.held", map[string]string{"": "1"})
			resign()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				r.Error(err)
			}
		}
		cancel()
		one, err := r.m.Acquire(r.Context(), "a")
		if err != nil {
			r.Fatal(err)
		}
		two, err := other.Acquire(r.Context(), "b")
		if err != nil {
			r.Fatal(err)
		}
		r.wantPoints("lockkeeper.held", map[string]string{"": "2"})
		r.wantPoints("lockkeeper.timeline", map[string]string{"": "1"})
		r.release(one)
		r.release(two)
		if err := errors.Join(stop(), other.Close(r.Context())); err != nil {
			r.Error(err)
		}
	}, lockotel.WithLeader("scheduler"))
}

// A key need not be text. An attribute must be: an exporter drops all that it was to send with one that is not.
func TestAttributesAreText(t *testing.T) {
	const key = "no text: \xff"
	inBubble(t, func(r *rig) {
		r.release(r.acquire(r.Context(), key))
		for _, name := range []string{"lockkeeper acquire", "lockkeeper hold"} {
			for _, a := range r.one(name).Attributes {
				if !utf8.ValidString(a.Value.AsString()) {
					r.Errorf("%s of %q is %q", a.Key, name, a.Value.AsString())
				}
			}
		}
		for name, m := range r.collect() {
			for attributes := range points(m) {
				if !utf8.ValidString(attributes) {
					r.Errorf("%s has %q", name, attributes)
				}
			}
		}
	}, lockotel.WithLeader(key), lockotel.WithKeyOnSpans(), lockotel.WithKeyClass(func(key string) string { return key }))
}
