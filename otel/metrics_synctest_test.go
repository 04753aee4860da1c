package lockotel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/lockkeeper/lockkeeper/manager"
	lockotel "github.com/lockkeeper/lockkeeper/otel"
)

// units are those of all metrics.
var units = map[string]string{
	"lockkeeper.acquire.duration": "s", "lockkeeper.hold.duration": "s", "lockkeeper.waiting": "{caller}", "lockkeeper.held": "{lock}",
	"lockkeeper.keys": "{key}", "lockkeeper.sessions": "{session}", "lockkeeper.sessions.queued": "{key}", "lockkeeper.grants": "{grant}",
	"lockkeeper.attempts": "{attempt}", "lockkeeper.losses": "{lock}", "lockkeeper.refusals": "{acquisition}",
	"lockkeeper.collisions": "{acquisition}", "lockkeeper.keeper.restarts": "{restart}", "lockkeeper.batches": "{statement}",
	"lockkeeper.batch.operations": "{operation}", "lockkeeper.hints": "{hint}", "lockkeeper.late.grants": "{grant}",
	"lockkeeper.events.dropped": "{event}", "lockkeeper.timeline": "{timeline}", "lockkeeper.settings.refused": "{setting}",
	"lockkeeper.leader": "{leader}",
}

func TestNamesAndUnits(t *testing.T) {
	page, err := os.ReadFile("testdata/docs/telemetry.md") // a link: the go command sees that the page has changed
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(r *rig) {
		r.release(r.acquire(r.Context(), "k"))
		got := map[string]string{}
		for name, m := range r.collect() {
			got[name] = m.Unit
			if m.Description == "" {
				r.Errorf("%s has no description", name)
			}
			if !strings.Contains(string(page), "`"+name+"`") {
				r.Errorf("docs/telemetry.md does not have %s", name)
			}
		}
		if !maps.Equal(got, units) {
			r.Errorf("the units are %v", got)
		}
	}, lockotel.WithLeader("k"))
}

func TestTheBoundsAreThoseOfStats(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.release(r.acquire(r.Context(), "k"))
		var want []float64
		for _, b := range r.m.Stats().WaitBuckets.Bounds {
			want = append(want, b.Seconds())
		}
		for _, name := range []string{"lockkeeper.acquire.duration", "lockkeeper.hold.duration"} {
			h, is := r.collect()[name].Data.(metricdata.Histogram[float64])
			if !is || len(h.DataPoints) != 1 || !slices.Equal(h.DataPoints[0].Bounds, want) {
				r.Errorf("%s: %+v", name, h)
			}
		}
	})
}

func (r *rig) wantPoints(name string, want map[string]string) {
	r.Helper()
	if got := points(r.collect()[name]); !maps.Equal(got, want) {
		r.Errorf("%s is %v, should be %v", name, got, want)
	}
}

func TestDurations(t *testing.T) {
	inBubble(t, func(r *rig) {
		lock := r.acquire(r.Context(), "orders/1")
		if _, err := r.m.Acquire(r.Context(), "orders/1", manager.WithWaitTimeout(time.Second)); err == nil {
			r.Error("it is granted twice")
		}
		time.Sleep(time.Second)
		r.release(lock)
		r.wantPoints("lockkeeper.acquire.duration", map[string]string{
			"lockkeeper.grant.source=server lockkeeper.key.class=orders lockkeeper.kind=exclusive": "1 in 0s",
			"error.type=wait_timeout lockkeeper.key.class=orders lockkeeper.kind=exclusive":        "1 in 1s",
		})
		r.wantPoints("lockkeeper.hold.duration", map[string]string{"lockkeeper.key.class=orders lockkeeper.kind=exclusive": "1 in 2s"})
	}, lockotel.WithKeyClass(classOf))
}

// Right after a loss the figures tell of it. Before it each cause is 0, so that the first loss is an increase.
func TestLossesByCause(t *testing.T) {
	inBubble(t, func(r *rig) {
		want := map[string]string{}
		for _, cause := range []string{"ended_by_the_server", "connection_broken", "no_answer_in_time", "backend_changed", "server_is_in_recovery",
			"a_standby_was_promoted", "another_cluster_answered", "state_of_a_lock_unknown", "ended_by_its_transaction", "closed", "keeper_failed"} {
			want["lockkeeper.loss.cause="+cause] = "0"
		}
		a, b := r.acquire(r.Context(), "a"), r.acquire(r.Context(), "b")
		r.wantPoints("lockkeeper.losses", want)
		r.wantPoints("lockkeeper.held", map[string]string{"": "2"})
		r.server.Lose()
		<-a.Done()
		<-b.Done()
		want["lockkeeper.loss.cause=ended_by_the_server"] = "2"
		r.wantPoints("lockkeeper.losses", want)
		r.wantPoints("lockkeeper.held", map[string]string{"": "0"})
		r.wantPoints("lockkeeper.hold.duration", map[string]string{"error.type=lost lockkeeper.kind=exclusive": "2 in 0s"})
	})
}

func TestWaitingSessionsAndGrants(t *testing.T) {
	inBubble(t, func(r *rig) {
		lock := r.acquire(r.Context(), "k")
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.release(r.acquire(r.Context(), "k"))
		}()
		r.wantPoints("lockkeeper.waiting", map[string]string{"": "1"})
		r.wantPoints("lockkeeper.keys", map[string]string{"": "1"})
		r.release(lock)
		<-done
		r.wantPoints("lockkeeper.waiting", map[string]string{"": "0"})
		r.wantPoints("lockkeeper.grants", map[string]string{"lockkeeper.grant.source=local": "1", "lockkeeper.grant.source=server": "1"})
		r.wantPoints("lockkeeper.sessions", map[string]string{"lockkeeper.session.state=shared": "1", "lockkeeper.session.state=waiting": "0",
			"lockkeeper.session.state=dedicated": "0", "lockkeeper.session.state=idle": "0", "lockkeeper.session.state=opening": "0"})
	})
}

func TestLeader(t *testing.T) {
	inBubble(t, func(r *rig) {
		const scheduler, other = "lockkeeper.leader.key=scheduler", "lockkeeper.leader.key=other"
		r.wantPoints("lockkeeper.leader", map[string]string{scheduler: "0", other: "0"})
		ctx, cancel := context.WithCancel(r.Context())
		done := make(chan error)
		go func() {
			done <- r.m.Elect(ctx, "scheduler", func(term context.Context) error {
				<-term.Done()
				return nil
			})
		}()
		r.wantPoints("lockkeeper.leader", map[string]string{scheduler: "1", other: "0"})
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.Error(err)
		}
		r.wantPoints("lockkeeper.leader", map[string]string{scheduler: "0", other: "0"})
		if got := words(r.one("lockkeeper hold").Attributes); !strings.Contains(got, "lockkeeper.kind=leader") {
			r.Error(got)
		}
	}, lockotel.WithLeader("scheduler", "other"))
}

// A function that names a class for each key costs a hundred time series, not one for each key.
func TestClassesAreBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		for i := range 150 {
			r.release(r.acquire(r.Context(), fmt.Sprint("k", i)))
		}
		got := points(r.collect()["lockkeeper.hold.duration"])
		if other := got["lockkeeper.key.class=_OTHER lockkeeper.kind=exclusive"]; len(got) != 101 || other != "50 in 0s" {
			r.Errorf("%d classes, and others %s", len(got), other)
		}
	}, lockotel.WithKeyClass(func(key string) string { return key }))
}

func TestAttributesOfTheUser(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.release(r.acquire(r.Context(), "k"))
		for name, m := range r.collect() {
			for attrs := range points(m) {
				if !strings.Contains(attrs, "db=eu") {
					r.Errorf("%s has %s", name, attrs)
				}
			}
		}
		if got := words(r.one("lockkeeper hold").Attributes); got != "db=eu lockkeeper.kind=exclusive" {
			r.Error(got)
		}
	}, lockotel.WithAttributes(attribute.String("db", "eu")), lockotel.WithLeader("k"))
}

// After stop nothing reads the manager. Before it, the figures of a closed manager can be had.
func TestStop(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.release(r.acquire(r.Context(), "k"))
		if err := r.m.Close(r.Context()); err != nil {
			r.Error(err)
		}
		r.wantPoints("lockkeeper.held", map[string]string{"": "0"})
		if err := r.stop(); err != nil {
			r.Error(err)
		}
		if got := r.collect(); len(got) != 2 {
			r.Errorf("%v", got)
		}
	})
}
