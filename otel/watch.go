package lockotel

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/lockkeeper/lockkeeper/manager"
)

// kind is that of an instrument.
type kind int

const (
	counter kind = iota // only grows
	sum                 // of a thing that there is: it makes sense to add those of all processes
	gauge
)

// instruments are those that are read from the manager. A unit in braces says what is counted.
var instruments = []struct {
	name, unit string
	kind       kind
	about      string
}{
	{"lockkeeper.waiting", "{caller}", sum, "Callers that wait for a lock."},
	{"lockkeeper.held", "{lock}", sum, "Locks that are held."},
	{"lockkeeper.keys", "{key}", sum, "Keys in use."},
	{"lockkeeper.sessions", "{session}", sum, "Connections to the server, by what they are used for."},
	{"lockkeeper.sessions.queued", "{key}", sum, "Keys that wait for a session of their own."},
	{"lockkeeper.grants", "{grant}", counter, "Locks granted, by the server or by another holder in this process."},
	{"lockkeeper.attempts", "{attempt}", counter, "Times that the server was asked for a lock."},
	{"lockkeeper.losses", "{lock}", counter, "Locks that were lost, by cause."},
	{"lockkeeper.refusals", "{acquisition}", counter, "Acquisitions that met a limit, by limit."},
	{"lockkeeper.collisions", "{acquisition}", counter, "Acquisitions whose key has the id of another key in use."},
	{"lockkeeper.keeper.restarts", "{restart}", counter, "Restarts of keepers that failed."},
	{"lockkeeper.batches", "{statement}", counter, "Statements that carry locks."},
	{"lockkeeper.batch.operations", "{operation}", counter, "Operations on locks in those statements."},
	{"lockkeeper.hints", "{hint}", counter, "Hints between managers that a lock is free: sent, heard, or lost."},
	{"lockkeeper.late.grants", "{grant}", counter, "Grants for which a hint was expected that did not come."},
	{"lockkeeper.events.dropped", "{event}", counter, "Events that the observer or the logger was too slow for."},
	{"lockkeeper.timeline", "{timeline}", gauge, "Timeline of the server's cluster; 0 where the server does not tell."},
	{"lockkeeper.settings.refused", "{setting}", gauge, "Session settings that the server does not take."},
	{"lockkeeper.leader", "{leader}", sum, "1 where this process leads, else 0."},
}

// Watch has the metrics that are no durations read from m whenever they are collected, until stop is called. Call stop before the meter provider
// is shut down; it may be called after m was closed. Where an observer watches several managers, their figures are added; but of
// lockkeeper.timeline and lockkeeper.settings.refused, which are no numbers of things, one manager's is seen.
func (o *Observer) Watch(m *manager.Manager) (stop func() error, err error) {
	byName := make(map[string]metric.Int64Observable, len(instruments))
	all := make([]metric.Observable, 0, len(instruments))
	for _, i := range instruments {
		instrument, err := o.instrument(i.kind, i.name, metric.WithUnit(i.unit), metric.WithDescription(i.about))
		if err != nil {
			return nil, fmt.Errorf("lockotel: %w", err)
		}
		byName[i.name], all = instrument, append(all, instrument)
	}
	registration, err := o.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		o.read(m, func(name string, n int64, attrs ...attribute.KeyValue) {
			to.ObserveInt64(byName[name], n, metric.WithAttributes(append(attrs, o.config.attributes...)...))
		})
		return nil
	}, all...)
	if err != nil {
		return nil, fmt.Errorf("lockotel: %w", err)
	}
	return registration.Unregister, nil
}

func (o *Observer) instrument(k kind, name string, opts ...metric.InstrumentOption) (metric.Int64Observable, error) {
	switch k {
	case counter:
		return o.meter.Int64ObservableCounter(name, as[metric.Int64ObservableCounterOption](opts)...)
	case sum:
		return o.meter.Int64ObservableUpDownCounter(name, as[metric.Int64ObservableUpDownCounterOption](opts)...)
	default:
		return o.meter.Int64ObservableGauge(name, as[metric.Int64ObservableGaugeOption](opts)...)
	}
}

func as[O any](opts []metric.InstrumentOption) (out []O) {
	for _, opt := range opts {
		if o, is := opt.(O); is {
			out = append(out, o)
		}
	}
	return out
}

// read reports each value of each instrument.
func (o *Observer) read(m *manager.Manager, is func(name string, n int64, attrs ...attribute.KeyValue)) {
	s := m.Stats()
	count := func(name string, n uint64, attrs ...attribute.KeyValue) { is(name, int64(n), attrs...) }
	is("lockkeeper.waiting", int64(s.Waiting))
	is("lockkeeper.held", int64(s.Held))
	is("lockkeeper.keys", int64(s.Keys))
	for state, n := range map[string]int{"shared": s.Sessions.Shared, "waiting": s.Sessions.Waiting, "dedicated": s.Sessions.Dedicated,
		"idle": s.Sessions.Idle, "opening": s.Sessions.Opening} {
		is("lockkeeper.sessions", int64(n), stateKey.String(state))
	}
	is("lockkeeper.sessions.queued", int64(s.Sessions.Queued))
	count("lockkeeper.grants", s.GrantsLocal, sourceKey.String("local"))
	count("lockkeeper.grants", s.GrantsServer, sourceKey.String("server"))
	count("lockkeeper.attempts", s.Attempts)
	for cause, n := range losses(s) {
		count("lockkeeper.losses", n, causeKey.String(cause))
	}
	for limit, n := range map[string]uint64{"waiters": s.Refused.Waiters, "keys": s.Refused.Keys, "locks": s.Refused.Locks,
		"sessions": s.Refused.Sessions, "lock_table": s.Refused.LockTable, "connections": s.Refused.Connections} {
		count("lockkeeper.refusals", n, limitKey.String(limit))
	}
	count("lockkeeper.collisions", s.Collisions)
	count("lockkeeper.keeper.restarts", s.Restarts)
	count("lockkeeper.batches", s.Batches.Count)
	count("lockkeeper.batch.operations", s.Batches.Operations)
	count("lockkeeper.hints", s.Hints.Sent, hintKey.String("sent"))
	count("lockkeeper.hints", s.Hints.Heard, hintKey.String("heard"))
	count("lockkeeper.hints", s.Hints.Lost, hintKey.String("lost"))
	count("lockkeeper.late.grants", s.Hints.LateGrants)
	count("lockkeeper.events.dropped", s.ObserverDropped, receiverKey.String("observer"))
	count("lockkeeper.events.dropped", s.LogDropped, receiverKey.String("logger"))
	is("lockkeeper.timeline", int64(s.Timeline))
	is("lockkeeper.settings.refused", int64(len(s.SettingsRefused)))
	for _, key := range o.config.leaderOf {
		leads := int64(0)
		if m.Leader(key).IsLeader(context.Background()) == nil { //nolint:forbidigo // it asks nobody
			leads = 1
		}
		is("lockkeeper.leader", leads, leaderKey.String(valid(key)))
	}
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
