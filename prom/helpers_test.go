package lockprom_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
	lockprom "github.com/lockkeeper/lockkeeper/prom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a manager on a server in memory, and its collector in a registry.
type rig struct {
	*testing.T
	server   *locktest.Server
	m        *manager.Manager
	registry *prometheus.Registry
}

// inBubble runs a test where time passes only when nothing else does: a duration is what the test slept.
func inBubble(t *testing.T, labels prometheus.Labels, leaderOf []string, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, server: locktest.NewServer(), registry: prometheus.NewPedanticRegistry()}
		var err error
		if r.m, err = r.server.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.registry.MustRegister(lockprom.NewCollector(r.m, labels, leaderOf...))
		test(r)
		if err := r.m.Close(t.Context()); err != nil {
			t.Error(err)
		}
		r.server.Close()
	})
}

func (r *rig) acquire(key string) *manager.Lock {
	r.Helper()
	lock, err := r.m.Acquire(r.Context(), key)
	if err != nil {
		r.Fatal(err)
	}
	return lock
}

func (r *rig) release(lock *manager.Lock) {
	r.Helper()
	if err := lock.Release(r.Context()); err != nil {
		r.Error(err)
	}
}

// want compares metrics of these names with what a scrape gives now; HELP and TYPE are left out of the text.
func (r *rig) want(text string, names ...string) {
	r.Helper()
	synctest.Wait()
	families, err := r.registry.Gather()
	if err != nil {
		r.Fatal(err)
	}
	head := ""
	for _, f := range families {
		for _, name := range names {
			if f.GetName() == name {
				head += "# HELP " + name + " " + f.GetHelp() + "\n# TYPE " + name + " " + strings.ToLower(f.GetType().String()) + "\n"
			}
		}
	}
	if err := testutil.GatherAndCompare(r.registry, strings.NewReader(head+text), names...); err != nil {
		r.Error(err)
	}
}
