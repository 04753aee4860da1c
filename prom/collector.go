package lockprom

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/manager"
)

// metrics are all that a collector has: names, the label where there is one, and what they mean.
var metrics = []struct {
	name, label, help string
	kind              prometheus.ValueType // of a histogram it is 0
}{
	{"lockkeeper_acquire_duration_seconds", "", "How long it took to acquire locks, granted or not; locks of sets and slots one by one.", 0},
	{"lockkeeper_hold_duration_seconds", "", "How long locks were held, from the grant to the end of the hold; locks of sets and slots one by one.", 0},
	{"lockkeeper_waiting", "", "Callers that wait for a lock.", gauge},
	{"lockkeeper_held", "", "Locks that are held.", gauge},
	{"lockkeeper_keys", "", "Keys in use.", gauge},
	{"lockkeeper_sessions", "state", "Connections to the server, by what they are used for.", gauge},
	{"lockkeeper_sessions_queued", "", "Keys that wait for a session of their own.", gauge},
	{"lockkeeper_grants_total", "source", "Locks granted, by the server or by another holder in this process.", counter},
	{"lockkeeper_attempts_total", "", "Times that the server was asked for a lock.", counter},
	{"lockkeeper_losses_total", "cause", "Locks that were lost, by cause.", counter},
	{"lockkeeper_refusals_total", "limit", "Acquisitions that met a limit, by limit.", counter},
	{"lockkeeper_collisions_total", "", "Acquisitions whose key has the id of another key in use.", counter},
	{"lockkeeper_keeper_restarts_total", "", "Restarts of keepers that failed.", counter},
	{"lockkeeper_batches_total", "", "Statements that carry locks.", counter},
	{"lockkeeper_batch_operations_total", "", "Operations on locks in those statements.", counter},
	{"lockkeeper_hints_total", "kind", "Hints between managers that a lock is free: sent, heard, or lost.", counter},
	{"lockkeeper_late_grants_total", "", "Grants for which a hint was expected that did not come.", counter},
	{"lockkeeper_events_dropped_total", "receiver", "Events that the observer or the logger was too slow for.", counter},
	{"lockkeeper_timeline", "", "Timeline of the server's cluster; 0 where the server does not tell.", gauge},
	{"lockkeeper_settings_refused", "", "Session settings that the server does not take.", gauge},
	{"lockkeeper_leader", "key", "1 where this process leads, else 0.", gauge},
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// Collector collects the figures of a manager whenever Prometheus scrapes. Make one with [NewCollector].
type Collector struct {
	m        *manager.Manager
	leaderOf map[string]string // keys, by what they are as the value of a label
	descs    map[string]*prometheus.Desc
	kinds    map[string]prometheus.ValueType
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector makes a collector of m's figures, to be registered. The labels are put on each metric: two managers in one registry need
// different ones. For each of the keys given to Elect that are named by leaderOf, it tells whether this process leads. Collecting waits for no
// network, and works after m was closed.
func NewCollector(m *manager.Manager, labels prometheus.Labels, leaderOf ...string) *Collector {
	c := &Collector{m: m, leaderOf: make(map[string]string), descs: make(map[string]*prometheus.Desc), kinds: make(map[string]prometheus.ValueType)}
	for _, key := range leaderOf {
		c.leaderOf[strings.ToValidUTF8(key, "\ufffd")] = key // a label is UTF-8, and there once
	}
	for _, i := range metrics {
		var variable []string
		if i.label != "" {
			variable = []string{i.label}
		}
		c.descs[i.name], c.kinds[i.name] = prometheus.NewDesc(i.name, i.help, variable, labels), i.kind
	}
	return c
}

// Describe is called by the registry.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, i := range metrics {
		to <- c.descs[i.name]
	}
}

// Collect is called by the registry, by several goroutines where there are several scrapes.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	s := c.m.Stats()
	is := func(name string, n float64, label ...string) {
		to <- prometheus.MustNewConstMetric(c.descs[name], c.kinds[name], n, label...)
	}
	c.histogram(to, "lockkeeper_acquire_duration_seconds", s.WaitBuckets)
	c.histogram(to, "lockkeeper_hold_duration_seconds", s.HoldBuckets)
	is("lockkeeper_waiting", float64(s.Waiting))
	is("lockkeeper_held", float64(s.Held))
	is("lockkeeper_keys", float64(s.Keys))
	for state, n := range map[string]int{"shared": s.Sessions.Shared, "waiting": s.Sessions.Waiting, "dedicated": s.Sessions.Dedicated,
		"idle": s.Sessions.Idle, "opening": s.Sessions.Opening} {
		is("lockkeeper_sessions", float64(n), state)
	}
	is("lockkeeper_sessions_queued", float64(s.Sessions.Queued))
	is("lockkeeper_grants_total", float64(s.GrantsLocal), "local")
	is("lockkeeper_grants_total", float64(s.GrantsServer), "server")
	is("lockkeeper_attempts_total", float64(s.Attempts))
	for cause, n := range losses(s) {
		is("lockkeeper_losses_total", float64(n), cause)
	}
	for limit, n := range map[string]uint64{"waiters": s.Refused.Waiters, "keys": s.Refused.Keys, "locks": s.Refused.Locks,
		"sessions": s.Refused.Sessions, "lock_table": s.Refused.LockTable, "connections": s.Refused.Connections} {
		is("lockkeeper_refusals_total", float64(n), limit)
	}
	is("lockkeeper_collisions_total", float64(s.Collisions))
	is("lockkeeper_keeper_restarts_total", float64(s.Restarts))
	is("lockkeeper_batches_total", float64(s.Batches.Count))
	is("lockkeeper_batch_operations_total", float64(s.Batches.Operations))
	is("lockkeeper_hints_total", float64(s.Hints.Sent), "sent")
	is("lockkeeper_hints_total", float64(s.Hints.Heard), "heard")
	is("lockkeeper_hints_total", float64(s.Hints.Lost), "lost")
	is("lockkeeper_late_grants_total", float64(s.Hints.LateGrants))
	is("lockkeeper_events_dropped_total", float64(s.ObserverDropped), "observer")
	is("lockkeeper_events_dropped_total", float64(s.LogDropped), "logger")
	is("lockkeeper_timeline", float64(s.Timeline))
	is("lockkeeper_settings_refused", float64(len(s.SettingsRefused)))
	for label, key := range c.leaderOf {
		leads := 0.0
		if c.m.Leader(key).IsLeader(context.Background()) == nil { //nolint:forbidigo // it asks nobody
			leads = 1
		}
		is("lockkeeper_leader", leads, label)
	}
}

func (c *Collector) histogram(to chan<- prometheus.Metric, name string, b manager.Buckets) {
	upTo := make(map[float64]uint64, len(b.Bounds))
	for i, bound := range b.Bounds {
		upTo[bound.Seconds()] = b.Counts[i]
	}
	to <- prometheus.MustNewConstHistogram(c.descs[name], b.Count, b.Sum.Seconds(), upTo)
}

// losses are those of Stats by a cause without blanks. Each has a value from the beginning, 0: the first loss is an increase then, which a new
// time series is not.
func losses(s manager.Stats) map[string]uint64 {
	all := make(map[string]uint64)
	for _, cause := range manager.LossCauses() {
		all[strings.ReplaceAll(cause, " ", "_")] = s.Losses[cause]
	}
	return all
}
