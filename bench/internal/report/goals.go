package report

import "slices"

// toPgx is the ratio of the scenario's figure to that of pgx.
func toPgx(scenario string) func(board) (float64, bool) {
	return func(b board) (float64, bool) {
		r, ok := b.get(scenario, b.ours)
		return r.Ratio, ok && r.Ratio > 0
	}
}

// toOthers is the ratio to the fastest system that is on no PostgreSQL.
func toOthers(scenario string) func(board) (float64, bool) {
	return func(b board) (float64, bool) {
		r, ok := b.get(scenario, b.ours)
		best := 0.0
		for _, other := range b.rows {
			if other.Scenario == scenario && other.Failed == "" && elsewhere(other.System) {
				best = max(best, other.Figure.Median)
			}
		}
		if !ok || best == 0 {
			return 0, false
		}
		return r.Figure.Median / best, true
	}
}

func elsewhere(system string) bool {
	return slices.Contains([]string{"rueidislock", "redislock", "redsync", "etcd"}, system)
}

func figure(scenario string, get func(Row) float64) func(board) (float64, bool) {
	return func(b board) (float64, bool) {
		r, ok := b.get(scenario, b.ours)
		return get(r), ok
	}
}

func serverCost(b board) (float64, bool) {
	r, ok := b.get("distinct-1000", b.ours)
	base, ok2 := b.get("distinct-1000", Reference)
	if !ok || !ok2 || base.ServerCPU == 0 {
		return 0, false
	}
	return r.ServerCPU / base.ServerCPU, true
}

func extra(scenario, name string) func(board) (float64, bool) {
	return func(b board) (float64, bool) {
		r, ok := b.get(scenario, b.ours)
		v, known := r.Extra[name]
		return v, ok && known
	}
}

func fairness(r Row) float64    { return r.Fairness }
func minShare(r Row) float64    { return r.MinShare }
func connections(r Row) float64 { return r.Conns }

// targets are the project's. Ratios within one run are all that is claimed, and bounds of what the design promises.
var targets = []Target{
	{Scenario: "lone", Text: "pairs to pgx", Floor: 0.6, Aim: 0.9, Of: toPgx("lone")},
	{Scenario: "lone-rtt", Text: "pairs to pgx", Floor: 0.95, Aim: 1, Of: toPgx("lone-rtt")},
	{Scenario: "distinct-10", Text: "pairs to pgx", Floor: 0.9, Aim: 1.2, Of: toPgx("distinct-10")},
	{Scenario: "distinct-10", Text: "slowest goroutine to the mean", Floor: 0.5, Aim: 0.5, Of: figure("distinct-10", minShare)},
	{Scenario: "distinct-100", Text: "pairs to pgx", Floor: 4, Aim: 8, Of: toPgx("distinct-100")},
	{Scenario: "distinct-1000", Text: "pairs to pgx", Floor: 5, Aim: 10, Of: toPgx("distinct-1000")},
	{Scenario: "distinct-1000", Text: "pairs to the fastest on Redis or etcd", Floor: 3.5, Aim: 6, Of: toOthers("distinct-1000")},
	{Scenario: "distinct-1000", Text: "server's CPU a pair to pgx's", Floor: 0.2, Aim: 0.1, Less: true, Of: serverCost},
	{Scenario: "distinct-1000-rtt", Text: "pairs to pgx", Floor: 6, Aim: 12, Of: toPgx("distinct-1000-rtt")},
	{Scenario: "distinct-10000", Text: "pairs to pgx", Floor: 3.5, Aim: 8, Of: toPgx("distinct-10000")},
	{Scenario: "one-key-100", Text: "pairs to pgx", Floor: 60, Aim: 120, Of: toPgx("one-key-100")},
	{Scenario: "one-key-4x50", Text: "pairs to pgx", Floor: 10, Aim: 20, Of: toPgx("one-key-4x50")},
	{Scenario: "one-key-4x50", Text: "Jain's index over processes", Floor: 0.95, Aim: 0.95, Of: figure("one-key-4x50", fairness)},
	{Scenario: "one-key-4x50", Text: "longest wait in quanta", Floor: 20, Aim: 20, Less: true,
		Of: extra("one-key-4x50", "longest_wait_quanta")},
	{Scenario: "zipf", Text: "pairs to pgx", Floor: 5, Aim: 10, Of: toPgx("zipf")},
	{Scenario: "hold-100k", Text: "connections", Floor: 5, Aim: 5, Less: true, Of: figure("hold-100k", connections)},
	{Scenario: "hold-100k", Text: "bytes of client memory a held key", Floor: 6 << 10, Aim: 4 << 10, Less: true,
		Of: extra("hold-100k", "bytes_per_key")},
	{Scenario: "hold-100k", Text: "release of all, ms", Floor: 2000, Aim: 2000, Less: true, Of: extra("hold-100k", "release_all_ms")},
	{Scenario: "hold-100k", Text: "a lone acquire's p50 meanwhile to its usual", Floor: 2, Aim: 2, Less: true,
		Of: extra("hold-100k", "lone_ratio")},
	{Scenario: "grow", Text: "cost at 1 M keys to that at 1 k", Floor: 1.5, Aim: 1.1, Less: true, Of: extra("grow", "ratio_1m_to_1k")},
	{Scenario: "wake", Text: "p99 to that of a raw waiting session", Floor: 1.5, Aim: 1.1, Less: true, Of: extra("wake", "p99_to_raw")},
	{Scenario: "wake-10k", Text: "p99 with 10,000 keys waiting, us", Floor: 150_000, Aim: 20_000, Less: true,
		Of: extra("wake-10k", "wake_p99_us")},
	{Scenario: "storm-100k", Text: "all returned, ms", Floor: 1000, Aim: 300, Less: true, Of: extra("storm-100k", "all_returned_ms")},
	{Scenario: "storm-100k", Text: "bytes a waiter on top of its goroutine", Floor: 2048, Aim: 2048, Less: true,
		Of: extra("storm-100k", "heap_bytes_per_waiter")},
	{Scenario: "loss", Text: "p99 of hearing of it, us", Floor: 10_000, Aim: 2000, Less: true, Of: extra("loss", "loss_p99_us")},
}
