package special

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// Names of systems, as peers call themselves.
const (
	lockkeeperName = "lockkeeper"
	pgxName        = "pgx"
)

// quantum is how long a lock is handed on inside a process of Lockkeeper's before others have their turn.
const quantum = 20 * time.Millisecond

// Scenarios are those of this package.
func Scenarios() []scenario.Scenario {
	f, h, s := fleet{processes: 4, goroutines: 50}, hold{keys: 100_000}, storm{100_000}
	g := grow{keys: []int{1000, 10_000, 100_000, 1_000_000}, idle: forgotten}
	one, many := wake{rounds: 500}, wake{rounds: 100, keys: 10_000}
	l := loss{rounds: 200, handles: 100}
	return []scenario.Scenario{
		{Name: "one-key-4x50", Text: "4 processes with 50 goroutines each, all on one key; fairness is over the processes",
			Systems: everybody, Long: true, MaxRounds: 3, Slack: 15 * time.Second, Run: f.run, Part: f.part},
		{Name: "hold-100k", Text: "100,000 keys held at once by one process: memory for each", Headline: "bytes_per_key",
			Unit: "bytes", Systems: holders, Long: true, MaxRounds: 3, Slack: time.Minute, Run: h.run},
		{Name: "grow", Text: "keys cycled through: what an acquisition costs at 1 million of them, against 1,000",
			Headline: "ratio_1m_to_1k", Unit: "x", Systems: everybody, Long: true, MaxRounds: 3, Slack: 2 * time.Minute,
			Run: g.run},
		{Name: "wake", Text: "from a release in one process to the grant in another that waits, p99", Headline: "wake_p99_us",
			Unit: "us", Systems: everybody, Long: true, MaxRounds: 3, Slack: time.Minute, Run: one.run, Part: one.part},
		{Name: "wake-10k", Text: "the same with 10,000 keys waiting in that process, p99", Headline: "wake_p99_us", Unit: "us",
			Systems: manyWaiters, Long: true, MaxRounds: 3, Slack: 2 * time.Minute, Run: many.run, Part: many.part},
		{Name: "storm-100k", Text: "100,000 waiters on one key, their contexts cancelled at once: until all have returned",
			Headline: "all_returned_ms", Unit: "ms", Systems: manyWaiters, Long: true, MaxRounds: 3, Slack: time.Minute,
			Run: s.run},
		{Name: "loss", Text: fmt.Sprintf("a session with %d locks terminated: until a handle's context has ended, p99", l.handles),
			Headline: "loss_p99_us", Unit: "us", Systems: []string{lockkeeperName}, Long: true, MaxRounds: 3, Slack: time.Minute,
			Run: l.run},
	}
}

// The lock systems that are asked. Goose's and cirello's pause for a second between two looks, so that a wait says nothing.
var (
	everybody = []string{lockkeeperName, pgxName, "go-pglock", "rueidislock", "redislock", "redsync", "etcd"}
	// holders are those, with pgx for what a connection for each lock comes to.
	holders = []string{lockkeeperName, pgxName, "rueidislock", "redislock", "redsync", "etcd"}
	// manyWaiters are those whose waiters do not each ask the server again and again.
	manyWaiters = []string{lockkeeperName, pgxName, "rueidislock", "etcd"}
)
