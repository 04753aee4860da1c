package lockotel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/lockkeeper/lockkeeper/manager"
	lockotel "github.com/lockkeeper/lockkeeper/otel"
)

const hold = 3 * time.Second

func took(s tracetest.SpanStub) time.Duration { return s.EndTime.Sub(s.StartTime) }

func classOf(key string) string {
	class, _, _ := strings.Cut(key, "/")
	return class
}

func TestSpansOfAnAcquisitionAndItsHold(t *testing.T) {
	inBubble(t, func(r *rig) {
		ctx, caller := r.tracers.Tracer("the program").Start(r.Context(), "pay")
		lock := r.acquire(ctx, "orders/42")
		began := time.Now()
		time.Sleep(hold)
		r.release(lock)
		caller.End()

		acquired, held := r.one("lockkeeper acquire"), r.one("lockkeeper hold")
		if a, h := words(acquired.Attributes), words(held.Attributes); a != "lockkeeper.grant.source=server "+h ||
			h != "lockkeeper.key.class=orders lockkeeper.kind=exclusive" {
			r.Errorf("the attributes are %s and %s", a, h)
		}
		for _, s := range []tracetest.SpanStub{acquired, held} {
			if s.Parent.SpanID() != caller.SpanContext().SpanID() || s.SpanContext.TraceID() != caller.SpanContext().TraceID() {
				r.Errorf("%q is no child of the caller's span", s.Name)
			}
			if s.Status.Code != codes.Unset || s.InstrumentationScope.Name != "github.com/lockkeeper/lockkeeper/otel" {
				r.Errorf("%+v", s)
			}
		}
		if len(held.Links) != 1 || !held.Links[0].SpanContext.Equal(acquired.SpanContext) {
			r.Errorf("the hold's links are %+v", held.Links)
		}
		if took(held) != hold || !held.StartTime.Equal(began) || took(acquired) != 0 || !acquired.EndTime.Equal(began) {
			r.Errorf("acquired from %v to %v, held from %v to %v", acquired.StartTime, acquired.EndTime, held.StartTime, held.EndTime)
		}
	}, lockotel.WithKeyClass(classOf))
}

// Who waits for another in the process has a span as long as the wait, and a root span where the context has none.
func TestSpanOfAWait(t *testing.T) {
	inBubble(t, func(r *rig) {
		const short = 10 * time.Millisecond // a hand-off within the process
		lock := r.acquire(r.Context(), "k")
		time.AfterFunc(short, func() { r.release(lock) })
		r.release(r.acquire(r.Context(), "k"))
		acquired := r.ended("lockkeeper acquire")
		if len(acquired) != 2 || took(acquired[1]) != short || words(acquired[1].Attributes) != "lockkeeper.grant.source=local lockkeeper.kind=exclusive" ||
			acquired[1].Parent.IsValid() {
			r.Errorf("%+v", acquired)
		}
	})
}

func TestKindsOnSpans(t *testing.T) {
	inBubble(t, func(r *rig) {
		ctx, nothing := r.Context(), func(context.Context) error { return nil }
		set, err := r.m.AcquireAll(ctx, "a", "b")
		if err != nil {
			r.Fatal(err)
		}
		if err := errors.Join(set.Release(ctx), r.m.DoShared(ctx, "k", nothing), r.m.DoSlot(ctx, "k2", 4, nothing)); err != nil {
			r.Fatal(err)
		}
		want := []string{"lockkeeper.keys=2 lockkeeper.kind=set", "lockkeeper.kind=shared", "lockkeeper.kind=slot lockkeeper.slots=4"}
		var got []string
		for _, s := range r.ended("lockkeeper hold") {
			got = append(got, words(s.Attributes))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			r.Errorf("%q", got)
		}
	})
}

func TestSpanOfALoss(t *testing.T) {
	inBubble(t, func(r *rig) {
		lock := r.acquire(r.Context(), "k")
		time.Sleep(hold)
		r.server.Lose()
		<-lock.Done()
		s := r.one("lockkeeper hold")
		if s.Status.Code != codes.Error || s.Status.Description != "lost" || words(s.Attributes) != "error.type=lost lockkeeper.kind=exclusive" ||
			took(s) != hold {
			r.Errorf("%+v", s)
		}
	})
}

// Each way to fail has its error.type. "Held by another" is the answer to a question, and no failure.
func TestSpansOfFailures(t *testing.T) {
	inBubble(t, func(r *rig) {
		canceled, cancel := context.WithCancel(r.Context())
		cancel()
		lock := r.acquire(r.Context(), "k")
		for _, c := range []struct {
			err        error
			reason     string
			wantStatus codes.Code
			run        func() error
		}{
			{manager.ErrNotAcquired, "not_acquired", codes.Unset, func() error { _, err := r.m.TryAcquire(r.Context(), "k"); return err }},
			{manager.ErrWaitTimeout, "wait_timeout", codes.Error, func() error {
				_, err := r.m.Acquire(r.Context(), "k", manager.WithWaitTimeout(time.Second))
				return err
			}},
			{context.Canceled, "canceled", codes.Error, func() error { _, err := r.m.Acquire(canceled, "k"); return err }},
			{manager.ErrHeld, "held", codes.Error, func() error { _, err := r.m.Acquire(lock.Context(), "k"); return err }},
			{manager.ErrEmptyKey, "empty_key", codes.Error, func() error { _, err := r.m.Acquire(r.Context(), ""); return err }},
		} {
			synctest.Wait()
			r.spans.Reset()
			if err := c.run(); !errors.Is(err, c.err) {
				r.Errorf("%s: the error is %v", c.reason, err)
			}
			s := r.one("lockkeeper acquire")
			if words(s.Attributes) != "error.type="+c.reason+" lockkeeper.kind=exclusive" || s.Status.Code != c.wantStatus {
				r.Errorf("%s: %s, %+v", c.reason, words(s.Attributes), s.Status)
			}
		}
		r.release(lock)
	})
}

// The end of a context ends the hold, as it was asked to: no failure.
func TestSpanOfAHoldThatItsContextEnds(t *testing.T) {
	inBubble(t, func(r *rig) {
		ctx, cancel := context.WithCancel(r.Context())
		lock := r.acquire(ctx, "k")
		cancel()
		<-lock.Done()
		if s := r.one("lockkeeper hold"); s.Status.Code != codes.Unset || words(s.Attributes) != "error.type=canceled lockkeeper.kind=exclusive" {
			r.Errorf("%+v", s)
		}
	})
}

// A key is in no span and no metric, also where the error's text has it, unless it was asked for.
func TestKeysAreNotShown(t *testing.T) {
	const secret = "patients/0815"
	story := func(r *rig) (spans, metrics string) {
		lock := r.acquire(r.Context(), secret)
		_, err := r.m.Acquire(r.Context(), secret, manager.WithWaitTimeout(time.Second))
		if err == nil || !strings.Contains(err.Error(), secret) {
			r.Errorf("the error is %v", err)
		}
		r.server.Lose()
		<-lock.Done()
		synctest.Wait()
		return fmt.Sprintf("%+v", r.spans.GetSpans()), fmt.Sprintf("%+v", r.collect())
	}
	inBubble(t, func(r *rig) {
		if spans, metrics := story(r); strings.Contains(spans, "0815") || strings.Contains(metrics, "0815") {
			r.Errorf("%s\n%s", spans, metrics)
		}
	}, lockotel.WithKeyClass(classOf))
	inBubble(t, func(r *rig) {
		_, metrics := story(r)
		if strings.Contains(metrics, "0815") {
			r.Error(metrics)
		}
		want := fmt.Sprintf("lockkeeper.id=%d lockkeeper.key=%s", r.m.Key(secret).ID(), secret)
		for _, s := range r.spans.GetSpans() {
			if !strings.Contains(words(s.Attributes), want) {
				r.Errorf("%q has %s", s.Name, words(s.Attributes))
			}
		}
	}, lockotel.WithKeyOnSpans())
}
