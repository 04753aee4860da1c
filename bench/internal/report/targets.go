package report

import (
	"slices"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// ours is Lockkeeper's name.
const ours = "lockkeeper"

// goal is what a release has to reach, and what it would like to.
type goal struct {
	Scenario, Text string
	floor, aim     float64
	less           bool // smaller is better
	of             measure
}

// measure gets a goal's figure, and whether it was measured.
type measure func(b board) (v float64, measured bool)

// board is the rows of a scenario, and whose goal is checked.
type board struct {
	rows []Row
	ours string
}

func (b board) get(system string) (r Row, ok bool) {
	i := slices.IndexFunc(b.rows, func(r Row) bool { return r.System == system && r.Failed == "" && r.NotApplicable == "" })
	if i < 0 {
		return r, false
	}
	return b.rows[i], true
}

func toPgx(b board) (float64, bool) {
	r, ok := b.get(b.ours)
	return float64(r.Ratio), ok && r.Ratio > 0
}

// toOthers is the ratio to the fastest system that is on no PostgreSQL.
func toOthers(b board) (float64, bool) {
	r, ok := b.get(b.ours)
	best := 0.0
	for _, other := range b.rows {
		if elsewhere(other.System) {
			best = max(best, other.headline().Median)
		}
	}
	return harness.Ratio(r.headline().Median, best), ok && best > 0
}

func elsewhere(system string) bool {
	return slices.Contains([]string{"rueidislock", "redislock", "redsync", "etcd"}, system)
}

// toSessionMode compares the two modes of one PgBouncer.
func toSessionMode(b board) (float64, bool) {
	transaction, ok := b.get("pgbouncer-transaction")
	session, ok2 := b.get("pgbouncer-session")
	return harness.Ratio(transaction.headline().Median, session.headline().Median), ok && ok2
}

func serverCost(b board) (float64, bool) {
	r, ok := b.get(b.ours)
	base, ok2 := b.get(reference)
	return harness.Ratio(float64(r.ServerCPU), float64(base.ServerCPU)), ok && ok2 && base.ServerCPU > 0
}

func of(get func(Row) float64) measure {
	return func(b board) (float64, bool) {
		r, ok := b.get(b.ours)
		return get(r), ok
	}
}

// by measures another system than ours.
func by(system string, what measure) measure {
	return func(b board) (float64, bool) { return what(board{b.rows, system}) }
}

func extra(name string) measure {
	return func(b board) (float64, bool) {
		r, ok := b.get(b.ours)
		v, known := r.Extra[name]
		return v, ok && known
	}
}

var (
	connections = of(func(r Row) float64 { return float64(r.Conns) })
	fairness    = of(func(r Row) float64 { return r.Fairness })
	minShare    = of(func(r Row) float64 { return r.MinShare })
)

const pairsToPgx = "pairs to pgx"

// goals are the project's. Ratios within one run are all that is claimed, and bounds of what the design promises.
var goals = []goal{
	{"lone", pairsToPgx, 0.7, 0.95, false, toPgx},
	{"lone-rtt", pairsToPgx, 0.95, 1, false, toPgx},
	{"distinct-10", pairsToPgx, 0.8, 1.2, false, toPgx},
	{"distinct-10", "slowest goroutine to the mean", 0.5, 0.5, false, minShare},
	{"distinct-100", pairsToPgx, 4, 6, false, toPgx},
	{"distinct-1000", pairsToPgx, 7, 10, false, toPgx},
	{"distinct-1000", "pairs to the fastest on Redis or etcd", 3, 6, false, toOthers},
	{"distinct-1000", "behind PgBouncer, transaction to session mode", 0.7, 1, false, toSessionMode},
	{"distinct-1000", "server's CPU a pair to pgx's", 0.2, 0.1, true, serverCost},
	{"distinct-1000-rtt", pairsToPgx, 12, 20, false, toPgx},
	{"distinct-10000", pairsToPgx, 2.5, 5, false, toPgx},
	{"one-key-100", pairsToPgx, 45, 70, false, toPgx},
	{"one-key-4x50", pairsToPgx, 30, 60, false, toPgx},
	{"one-key-4x50", "Jain's index over processes", 0.95, 0.95, false, fairness},
	{"one-key-4x50", "longest wait in hand-off limits", 20, 20, true, extra("longest_wait_quanta")},
	{"zipf", pairsToPgx, 8, 12, false, toPgx},
	{"hold-100k", "connections", 5, 5, true, connections},
	{"hold-100k", "bytes of client memory a held key", 4 << 10, 3 << 10, true, extra("bytes_per_key")},
	{"hold-100k", "release of all, ms", 2000, 2000, true, extra("release_all_ms")},
	{"hold-100k", "a lone acquire's p50 meanwhile to its usual", 2, 1.5, true, extra("lone_ratio")},
	{"grow", "cost at 1 M keys to that at 1 k", 1.5, 1.1, true, extra("ratio_1m_to_1k")},
	{"wake", "p99 to that of a raw waiting session", 1.5, 1.2, true, extra("p99_to_raw")},
	{"wake-10k", "p99 with 10,000 keys waiting, us", 110_000, 20_000, true, extra("wake_p99_us")},
	{"wake-10k", "the same with hints, us", 20_000, 5000, true, by("lockkeeper-hints", extra("wake_p99_us"))},
	{"storm-100k", "all returned, ms", 500, 300, true, extra("all_returned_ms")},
	{"storm-100k", "bytes a waiter, its goroutine included", 4096, 4096, true, extra("bytes_per_waiter")},
	{"loss", "p99 of hearing of it, us", 6000, 2000, true, extra("loss_p99_us")},
}

// Target is a goal with what was measured. Verdict is "missed", "floor" or "aim", by the worst run.
type Target struct {
	goal
	value                                 span
	Measured, Before, Floor, Aim, Verdict string
}

// check returns the targets that every run measured, with the baseline's figures where there are any.
func check(runs []Saved) (targets []Target) {
	for _, g := range goals {
		t := Target{goal: g, Floor: g.bound(g.floor), Aim: g.bound(g.aim)}
		var before span
		measured := 0
		for _, r := range runs {
			rows := slices.DeleteFunc(slices.Clone(r.Rows), func(r Row) bool { return r.Scenario != g.Scenario })
			if v, ok := g.of(board{rows, ours}); ok {
				t.value = t.value.with(v)
				measured++
			}
			if v, ok := g.of(board{rows, r.Baseline}); ok {
				before = before.with(v)
			}
		}
		if measured < len(runs) {
			continue
		}
		worst := t.value.low
		if g.less {
			worst = t.value.high
		}
		t.Measured, t.Before, t.Verdict = t.value.show(short), before.show(short), g.verdict(worst)
		targets = append(targets, t)
	}
	return targets
}

func (g goal) verdict(value float64) string {
	reaches := func(mark float64) bool { return value >= mark && !g.less || value <= mark && g.less }
	switch {
	case reaches(g.aim):
		return "aim"
	case reaches(g.floor):
		return "floor"
	default:
		return "missed"
	}
}

func (g goal) bound(mark float64) string {
	if g.less {
		return "<= " + short(mark)
	}
	return ">= " + short(mark)
}

// targetTable has a line of headings. It has a column for the baseline only where there is one.
func (r Report) targetTable() [][]string {
	table := [][]string{{"scenario and what", "measured", "baseline", "floor", "aim", "reached"}}
	for _, t := range r.Targets {
		table = append(table, []string{t.Scenario + ": " + t.Text, t.Measured, t.Before, t.Floor, t.Aim, t.Verdict})
	}
	return withoutEmpty(table)
}
