// Package scenario says what is measured: under which load, and which figures come of it.
package scenario

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/measure"
	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Scenario is one question that is put to every system. It is run in a child process of the harness of its own, once a
// round and system.
type Scenario struct {
	// Name is what --only takes and reports show; Text is one line that says what is asked.
	Name, Text string
	// RTT is the round trip that the harness's proxy adds between the client and every server.
	RTT time.Duration
	// Unit and Headline are for scenarios whose figure is not pairs per second: Headline is the key in Result.Extra that
	// reports show, in Unit ("us", "ms", "bytes"). Both are empty for scenarios of throughput.
	Headline, Unit string
	// Systems, where set, are the only ones that the question makes sense for.
	Systems []string
	// MaxRounds, where set, bounds the rounds of a scenario that takes long.
	MaxRounds int
	// Long scenarios are left out of a quick run, unless they are named.
	Long bool
	// Slack is how long a round may take on top of what any may, unless it is quick: some have much to set up.
	Slack time.Duration
	// Run measures one round. An error says that the system failed, and why; so does Result.Failed.
	Run func(ctx context.Context, s Setup) (Result, error)
	// Part, where set, is what a process runs that Run has started by Setup.Spawn.
	Part func(ctx context.Context, s Setup, part string, in io.Reader, out io.Writer) error
}

// ErrNotApplicable is what Run returns where the question makes no sense for the system; it is no failure.
var ErrNotApplicable = errors.New("not applicable")

// Setup is what one round of a scenario finds.
type Setup struct {
	System peer.System
	// Env has the addresses to use. The scenario sets Env.Goroutines before it opens the system.
	Env peer.Env
	// AdminDSN reaches PostgreSQL directly, without the proxy: for terminating sessions and for looking at them.
	AdminDSN string
	// ServerAddress is what the client's connections are counted by: host:port, or the path of a unix socket.
	ServerAddress string
	// Warmup comes before Duration, which is the measured window.
	Warmup, Duration time.Duration
	// Quick asks for the smallest size that still says something: fewer keys and waiters.
	Quick bool
	// Meter reads the CPU time of this process with its children, and of the server.
	Meter measure.Meter
	// Spawn makes the command of another process of this binary, which runs Scenario.Part with the same Setup. Its
	// stdin and stdout are the caller's to set; its stderr is this process's. It is killed when ctx ends.
	Spawn func(ctx context.Context, part string) *exec.Cmd
}

// Result is what one round gave. A figure that was not measured is zero and is not shown.
type Result struct {
	// PairsPerSecond counts acquisitions with their releases.
	PairsPerSecond float64 `json:"pairs_per_second,omitempty"`
	// P50 and P99 are of acquisitions, in microseconds.
	P50 float64 `json:"p50_us,omitempty"`
	P99 float64 `json:"p99_us,omitempty"`
	// Connections of the system at the server, at the end of the window.
	Connections int `json:"connections,omitempty"`
	// RSSBytes is the most memory that the client used; the harness fills it in where the scenario does not.
	RSSBytes int64 `json:"rss_bytes,omitempty"`
	// ClientCPU and ServerCPU are seconds per million pairs.
	ClientCPU float64 `json:"client_cpu_s_per_million,omitempty"`
	ServerCPU float64 `json:"server_cpu_s_per_million,omitempty"`
	// Fairness is Jain's index over the parties that the scenario names: goroutines or processes.
	Fairness float64 `json:"fairness,omitempty"`
	// MinShare is the slowest party's share of the mean.
	MinShare float64 `json:"min_share,omitempty"`
	// Extra figures, by a name that says the unit: "wake_p99_us".
	Extra map[string]float64 `json:"extra,omitempty"`
	// Failed is why there is no figure.
	Failed string `json:"failed,omitempty"`
	// NotApplicable is why the question makes no sense for the system.
	NotApplicable string `json:"not_applicable,omitempty"`
}

// CPU fills in the CPU time that so many pairs took.
func (r *Result) CPU(used measure.Reading, pairs float64) {
	if pairs > 0 {
		r.ClientCPU = used.Client.Seconds() / pairs * 1e6
		r.ServerCPU = used.Server.Seconds() / pairs * 1e6
	}
}
