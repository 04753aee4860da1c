// Package scenarios has the questions that are put to every system: how many pairs per second under a load, and figures of
// another kind, which each scenario's text names.
package scenarios

import (
	"context"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

const (
	// rtt is what is added where a scenario asks for it: that of a database in the same region.
	rtt = 500 * time.Microsecond
	// handOffLimit is how long a lock is handed on inside a process of Lockkeeper's before other processes get it.
	handOffLimit = 20 * time.Millisecond
	oneKey       = "bench/one"

	lockkeeper = "lockkeeper"
	hints      = "lockkeeper-hints" // the same with WithNotify
	pgx        = "pgx"
)

// The lock systems that are asked. Goose and cirello-pglock pause for a second between two tries, so that a wait says nothing.
var (
	everybody = []string{lockkeeper, hints, pgx, "go-pglock", "rueidislock", "redislock", "redsync", "etcd"}
	// holders are those, with pgx for what a connection for each lock comes to.
	holders = []string{lockkeeper, pgx, "rueidislock", "redislock", "redsync", "etcd"}
	// manyWaiters are those whose waiters do not each ask the server again and again.
	manyWaiters = []string{lockkeeper, hints, pgx, "rueidislock", "etcd"}
)

// All returns all scenarios in the order of reports.
func All() []harness.Scenario {
	f, h, s := fleet{processes: 4, goroutines: 50, window: fleetWindow}, hold{keys: 100_000}, storm{100_000}
	g := grow{keys: []int{1000, 10_000, 100_000, 1_000_000}, idle: forgotten}
	one, many := wake{rounds: 500}, wake{rounds: 100, keys: 10_000}
	l := loss{rounds: 200, handles: 100}
	return []harness.Scenario{
		throughput("lone", "1 goroutine, 1 key", 0, harness.Load{Goroutines: 1, Keys: 1}),
		distinct(10, 0),
		distinct(100, 0),
		distinct(1000, 0),
		distinct(10_000, 0),
		throughput("lone-rtt", "1 goroutine, 1 key, 0.5 ms away", rtt, harness.Load{Goroutines: 1, Keys: 1}),
		distinct(1000, rtt),
		throughput("one-key-100", "100 goroutines, all on one key", 0, harness.Load{Goroutines: 100, Keys: 1}),
		throughput("zipf", "1,000 goroutines over 100,000 keys, skew 1.1", 0, harness.Load{Goroutines: 1000, Keys: 100_000, Skew: 1.1}),
		{Name: "one-key-4x50", Text: "4 processes with 50 goroutines each, all on one key; fairness is over the processes",
			Systems: everybody, Long: true, Slack: 15 * time.Second, Run: f.run, Part: f.part},
		{Name: "hold-100k", Text: "100,000 keys held at once by one process: memory for each", Headline: "bytes_per_key",
			Unit: "bytes", Systems: holders, Long: true, Slack: time.Minute, Run: h.run},
		{Name: "grow", Text: "keys cycled through: what an acquisition costs at 1 million of them, against 1,000",
			Headline: "ratio_1m_to_1k", Unit: "x", Systems: everybody, Long: true, Slack: 2 * time.Minute, Run: g.run},
		{Name: "wake", Text: "from a release in one process to the grant in another that waits, p99", Headline: "wake_p99_us",
			Unit: "us", Systems: everybody, Long: true, Slack: time.Minute, Run: one.run, Part: one.part},
		{Name: "wake-10k", Text: "the same with 10,000 keys waiting in that process, p99", Headline: "wake_p99_us", Unit: "us",
			Systems: manyWaiters, Long: true, Slack: 2 * time.Minute, Run: many.run, Part: many.part},
		{Name: "storm-100k", Text: "100,000 waiters on one key, their contexts cancelled at once: until all have returned",
			Headline: "all_returned_ms", Unit: "ms", Systems: manyWaiters, Long: true, Slack: time.Minute, Run: s.run},
		{Name: "loss", Text: fmt.Sprintf("a session with %d locks terminated: until a handle's context has ended, p99", l.handles),
			Headline: "loss_p99_us", Unit: "us", Systems: []string{lockkeeper}, Long: true, Slack: time.Minute, Run: l.run},
	}
}

func distinct(n int, rtt time.Duration) harness.Scenario {
	name, text := fmt.Sprintf("distinct-%d", n), fmt.Sprintf("%d goroutines, each its own key", n)
	if rtt > 0 {
		name, text = name+"-rtt", text+", 0.5 ms away"
	}
	return throughput(name, text, rtt, harness.Load{Goroutines: n, Keys: n})
}

// throughput is a scenario in which goroutines take and release locks as fast as they can. It is a closed loop: each goroutine
// begins the next pair when the one before is done. The latency is that of the acquisition. A goroutine's context is its own, as
// that of a request would be.
func throughput(name, text string, rtt time.Duration, l harness.Load) harness.Scenario {
	return harness.Scenario{Name: name, Text: text, RTT: rtt,
		Run: func(ctx context.Context, s harness.Setup) (harness.Result, error) { return run(ctx, s, l) }}
}

func run(ctx context.Context, s harness.Setup, l harness.Load) (result harness.Result, err error) {
	if s.System.Limit != nil {
		return s.System.Limit(ctx, s, l)
	}
	err = s.With(ctx, l.Goroutines, func(client harness.Client) (err error) {
		result, err = newCrowd(client, l).run(ctx, s)
		return err
	})
	return result, err
}
