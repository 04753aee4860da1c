package lockprom_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A pedantic registry says what is wrong with metrics, and the linter what is wrong with their names.
func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	inBubble(t, prometheus.Labels{"db": "eu"}, []string{"scheduler"}, func(r *rig) {
		problems, err := testutil.GatherAndLint(r.registry)
		if err != nil {
			r.Fatal(err)
		}
		for _, p := range problems {
			r.Errorf("%s: %s", p.Metric, p.Text)
		}
	})
}

func TestHistograms(t *testing.T) {
	inBubble(t, nil, nil, func(r *rig) {
		lock := r.acquire("k")
		if _, err := r.m.Acquire(r.Context(), "k", manager.WithWaitTimeout(2*time.Second)); !errors.Is(err, manager.ErrWaitTimeout) {
			r.Errorf("the error is %v", err)
		}
		time.Sleep(2 * time.Second)
		r.release(lock)
		families, err := r.registry.Gather()
		if err != nil {
			r.Fatal(err)
		}
		for _, f := range families {
			var count, below, upTo uint64
			var sum float64
			switch f.GetName() {
			case "lockkeeper_acquire_duration_seconds":
				count, below, upTo, sum = 2, 1, 2, 2
			case "lockkeeper_hold_duration_seconds":
				count, below, upTo, sum = 1, 0, 1, 4
			default:
				continue
			}
			h := f.GetMetric()[0].GetHistogram()
			if h.GetSampleCount() != count || h.GetSampleSum() < sum || h.GetSampleSum() > sum+0.001 || len(h.GetBucket()) != 22 {
				r.Errorf("%s: %v", f.GetName(), h)
			}
			for _, b := range h.GetBucket() {
				want := below
				if b.GetUpperBound() >= 5 || b.GetUpperBound() >= 2.5 && sum == 2 {
					want = upTo
				}
				if b.GetCumulativeCount() != want {
					r.Errorf("%s up to %gs: %d, should be %d", f.GetName(), b.GetUpperBound(), b.GetCumulativeCount(), want)
				}
			}
		}
	})
}

// Right after a loss the figures tell of it. Before it each cause is 0, so that the first loss is an increase.
func TestLossesByCause(t *testing.T) {
	const others = `
		lockkeeper_losses_total{cause="a_standby_was_promoted"} 0
		lockkeeper_losses_total{cause="another_cluster_answered"} 0
		lockkeeper_losses_total{cause="backend_changed"} 0
		lockkeeper_losses_total{cause="closed"} 0
		lockkeeper_losses_total{cause="connection_broken"} 0
		lockkeeper_losses_total{cause="ended_by_its_transaction"} 0
		lockkeeper_losses_total{cause="keeper_failed"} 0
		lockkeeper_losses_total{cause="no_answer_in_time"} 0
		lockkeeper_losses_total{cause="server_is_in_recovery"} 0
		lockkeeper_losses_total{cause="state_of_a_lock_unknown"} 0
`
	inBubble(t, nil, nil, func(r *rig) {
		a, b := r.acquire("a"), r.acquire("b")
		r.want(others+"lockkeeper_losses_total{cause=\"ended_by_the_server\"} 0\nlockkeeper_held 2\n", "lockkeeper_losses_total", "lockkeeper_held")
		r.server.Lose()
		<-a.Done()
		<-b.Done()
		r.want(others+"lockkeeper_losses_total{cause=\"ended_by_the_server\"} 2\nlockkeeper_held 0\n", "lockkeeper_losses_total", "lockkeeper_held")
	})
}

func TestWaitingSessionsAndGrants(t *testing.T) {
	inBubble(t, nil, nil, func(r *rig) {
		lock := r.acquire("k")
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.release(r.acquire("k"))
		}()
		r.want("lockkeeper_waiting 1\nlockkeeper_keys 1\n", "lockkeeper_waiting", "lockkeeper_keys")
		r.release(lock)
		<-done
		r.want(`
			lockkeeper_waiting 0
			lockkeeper_grants_total{source="local"} 1
			lockkeeper_grants_total{source="server"} 1
			lockkeeper_sessions{state="dedicated"} 0
			lockkeeper_sessions{state="idle"} 0
			lockkeeper_sessions{state="opening"} 0
			lockkeeper_sessions{state="shared"} 1
			lockkeeper_sessions{state="waiting"} 0
`, "lockkeeper_waiting", "lockkeeper_grants_total", "lockkeeper_sessions")
	})
}

func TestLeaderAndLabels(t *testing.T) {
	inBubble(t, prometheus.Labels{"db": "eu"}, []string{"scheduler"}, func(r *rig) {
		r.want("lockkeeper_leader{db=\"eu\",key=\"scheduler\"} 0\n", "lockkeeper_leader")
		another, err := r.server.Hold(r.m.Key("scheduler"))
		if err != nil {
			r.Fatal(err)
		}
		ctx, cancel := context.WithCancel(r.Context())
		done := make(chan error)
		go func() {
			done <- r.m.Elect(ctx, "scheduler", func(term context.Context) error {
				<-term.Done()
				return nil
			})
		}()
		r.want("lockkeeper_leader{db=\"eu\",key=\"scheduler\"} 0\nlockkeeper_waiting{db=\"eu\"} 1\n", "lockkeeper_leader", "lockkeeper_waiting")
		another()
		time.Sleep(time.Second) // as long as a candidate waits at the server
		r.want("lockkeeper_leader{db=\"eu\",key=\"scheduler\"} 1\nlockkeeper_waiting{db=\"eu\"} 0\n", "lockkeeper_leader", "lockkeeper_waiting")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.Error(err)
		}
		r.want("lockkeeper_leader{db=\"eu\",key=\"scheduler\"} 0\n", "lockkeeper_leader")
	})
}

// A manager that is closed can be scraped.
func TestAClosedManagerCanBeScraped(t *testing.T) {
	inBubble(t, prometheus.Labels{"db": "eu"}, nil, func(r *rig) {
		r.release(r.acquire("k"))
		if err := r.m.Close(r.Context()); err != nil {
			r.Error(err)
		}
		r.want("lockkeeper_grants_total{db=\"eu\",source=\"local\"} 0\nlockkeeper_grants_total{db=\"eu\",source=\"server\"} 1\n", "lockkeeper_grants_total")
	})
}
