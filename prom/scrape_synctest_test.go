package lockprom_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lockkeeper/lockkeeper/locktest"
	lockprom "github.com/lockkeeper/lockkeeper/prom"
)

// A key that is named twice, or that is no text, costs nobody a scrape.
func TestAnyKeyMayBeWatchedForItsLeader(t *testing.T) {
	inBubble(t, nil, []string{"a", "no text: \xff", "a", ""}, func(r *rig) {
		r.want("lockkeeper_leader{key=\"\"} 0\nlockkeeper_leader{key=\"a\"} 0\nlockkeeper_leader{key=\"no text: \ufffd\"} 0\n", "lockkeeper_leader")
	})
}

// Several scrapes at a time, while locks come and go, and while the manager is closed.
func TestScrapesAtOneTime(t *testing.T) {
	m := locktest.Open(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(lockprom.NewCollector(m, nil, "a"))
	if err := registry.Register(lockprom.NewCollector(m, nil, "a")); err == nil {
		t.Error("the same figures are registered twice")
	}
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				answer := httptest.NewRecorder()
				handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if answer.Code != http.StatusOK {
					t.Error(answer.Body)
				}
			}
		})
	}
	for range 100 {
		lock, err := m.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := lock.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
	all.Wait()
}
