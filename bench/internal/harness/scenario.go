package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"
)

// Scenario is one question that is put to every system.
type Scenario struct {
	// Name is what --only takes; Text is one line that says what is asked.
	Name, Text string
	// RTT is the round trip that is added between the client and every server.
	RTT time.Duration
	// Headline is the key in Result.Extra that reports show, in Unit ("us", "ms", "bytes", "x"). Both are empty where the figure
	// is pairs per second.
	Headline, Unit string
	// Systems, where set, are the only ones that the question makes sense for.
	Systems []string
	// Long scenarios run three rounds at most. A quick run leaves them out, unless they are named.
	Long bool
	// Slack is how long a round may take on top of what any may, unless it is quick: some have much to set up.
	Slack time.Duration
	// Run measures one round. An error says that the system failed, and why.
	Run func(ctx context.Context, s Setup) (Result, error)
	// Part, where set, is what a process runs that Run has started by Setup.Spawn.
	Part func(ctx context.Context, s Setup, part string, in io.Reader, out io.Writer) error
}

// ErrNotApplicable is returned by Run where the question makes no sense for the system. It is no failure.
var ErrNotApplicable = errors.New("not applicable")

// Setup is what one round of a scenario finds.
type Setup struct {
	System System `json:"-"`
	Env    Env
	// AdminDSN reaches PostgreSQL without added latency: for terminating sessions and for looking at them.
	AdminDSN string
	// ServerAddress is what the client's connections are counted by: host:port, or the path of a unix socket.
	ServerAddress string
	// Warmup comes before Duration, which is the measured window.
	Warmup, Duration time.Duration
	// Quick asks for the smallest size that still says something.
	Quick bool
	Meter Meter
	// Spawn makes the command of another process, which runs Scenario.Part with the same Setup. The caller sets its stdin and
	// stdout. It is killed when ctx ends.
	Spawn func(ctx context.Context, part string) *exec.Cmd `json:"-"`
}

// openBound is for connecting: a system that opens 50 connections with latency needs some of it.
const openBound = 10 * time.Second

// With opens the system for so many goroutines, and closes it after use.
func (s Setup) With(ctx context.Context, goroutines int, use func(c Client) error) error {
	if s.System.Open == nil {
		return fmt.Errorf("%w: a limit has no client to open", ErrNotApplicable)
	}
	s.Env.Goroutines = goroutines
	opening, cancel := context.WithTimeout(ctx, openBound)
	defer cancel()
	client, err := s.System.Open(opening, s.Env)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	return errors.Join(use(client), client.Close())
}

// Measure runs a window, and adds to its result the CPU time that its pairs took.
func (s Setup) Measure(window func(r *Result) (pairs float64, err error)) (Result, error) {
	var r Result
	before, err := s.Meter.Read()
	if err != nil {
		return r, err
	}
	pairs, err := window(&r)
	if err != nil {
		return r, err
	}
	after, err := s.Meter.Read()
	if pairs > 0 {
		r.ClientCPU = (after.Client - before.Client).Seconds() / pairs * 1e6
		r.ServerCPU = (after.Server - before.Server).Seconds() / pairs * 1e6
	}
	return r, err
}

// Load says who wants which keys.
type Load struct {
	Goroutines, Keys int
	// Skew, where set, is the exponent by which goroutines choose keys. Otherwise goroutine i has key i (modulo Keys).
	Skew float64
}

// Distinct reports whether no two goroutines want the same key.
func (l Load) Distinct() bool { return l.Skew == 0 && l.Keys >= l.Goroutines }

// Result is what one round gave. A figure that was not measured is zero and is not shown.
type Result struct {
	// PairsPerSecond counts acquisitions with their releases.
	PairsPerSecond float64 `json:"pairs_per_second,omitempty"`
	// P50 and P99 are of acquisitions, in microseconds.
	P50 float64 `json:"p50_us,omitempty"`
	P99 float64 `json:"p99_us,omitempty"`
	// Connections of the system at the server, at the end of the window.
	Connections int `json:"connections,omitempty"`
	// RSSBytes is the most memory that the client used. The harness sets it where the scenario does not.
	RSSBytes int64 `json:"rss_bytes,omitempty"`
	// ClientCPU and ServerCPU are seconds per million pairs.
	ClientCPU float64 `json:"client_cpu_s_per_million,omitempty"`
	ServerCPU float64 `json:"server_cpu_s_per_million,omitempty"`
	// Fairness is Jain's index over the parties that the scenario names: goroutines or processes. MinShare is the slowest
	// party's share of the mean.
	Fairness float64 `json:"fairness,omitempty"`
	MinShare float64 `json:"min_share,omitempty"`
	// Extra figures, by a name that says the unit: "wake_p99_us".
	Extra map[string]float64 `json:"extra,omitempty"`
	// Failed is why there is no figure, NotApplicable why the question makes no sense for the system.
	Failed        string `json:"failed,omitempty"`
	NotApplicable string `json:"not_applicable,omitempty"`
}

// Key is the name of the i-th key of a load.
func Key(i int) string { return "bench/orders/" + strconv.Itoa(i) }

// US is a duration in microseconds.
func US(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// Ratio is a to b, or 0 where there is no b: a ratio that cannot be had is not shown.
func Ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}
