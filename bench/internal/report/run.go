// Package report makes tables and pages of what was measured: of one run, or of several that are merged.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// Run is what all figures of a run have in common. It is a part of each line of --json.
type Run struct {
	Date time.Time     `json:"began"`
	Took time.Duration `json:"took_ns"`
	// Arguments repeat the run.
	Arguments string  `json:"arguments,omitempty"`
	Rounds    int     `json:"rounds"`
	Seconds   float64 `json:"seconds"`
	Quick     bool    `json:"quick,omitempty"`
	// Cut measurements did not fit into a quick run.
	Cut int `json:"cut,omitempty"`
	// Commit is that of the library under test. It ends in "-dirty" if files were changed since.
	Commit string `json:"commit,omitempty"`
	// Baseline is the name of the system with the library at another commit, and BaselineCommit that commit.
	Baseline       string  `json:"baseline,omitempty"`
	BaselineCommit string  `json:"baseline_commit,omitempty"`
	Machine        Machine `json:"machine"`
	// Servers and Libraries are versions.
	Servers   []string `json:"servers,omitempty"`
	Libraries []string `json:"libraries,omitempty"`
	// Switch is the cost of a switch between processes.
	Switch []harness.SwitchCost `json:"switch,omitempty"`
	// Others is the part of the processors that other programs used, the median over all measurements.
	Others float64 `json:"others,omitempty"`
}

// Saved is a run with its figures, as --json writes it.
type Saved struct {
	Run
	Rows []Row
}

// New puts a run's measurements together. commit is the checkout's, "" where it is not known.
func New(c harness.Catalogue, p harness.Plan, o harness.Outcome, arguments, commit string) Report {
	var others []float64
	for _, m := range o.Measurements {
		others = append(others, m.Others)
	}
	baseline := c.Baseline()
	run := Run{Date: o.Began, Took: o.Took.Round(time.Second), Arguments: arguments, Rounds: p.Rounds, Seconds: p.Duration.Seconds(),
		Quick: p.Quick, Cut: o.Cut, Commit: commit, Baseline: baseline.Name, BaselineCommit: baseline.Commit, Machine: thisMachine(),
		Servers: o.Versions, Libraries: libraries(), Switch: o.Switch, Others: summarise(others).Median}
	return build(c, []Saved{{Run: run, Rows: rows(c, o.Measurements)}})
}

// JSON writes one object a line, for each scenario and system.
func (s Saved) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	for _, row := range s.Rows {
		row.Others, row.Run = s.Others, &s.Run
		if err := encoder.Encode(row); err != nil {
			return err
		}
	}
	return nil
}

// ErrNoRun is returned when lines lack the run that they belong to, as those of older harnesses do.
var ErrNoRun = errors.New("it does not say which run it is of: it is no file of --json, or one of an older harness")

// Read reads what --json has written. Lines of several runs may follow each other.
func Read(r io.Reader) ([]Saved, error) {
	var runs []Saved
	for decoder, n := json.NewDecoder(r), 1; ; n++ {
		var row Row
		if err := decoder.Decode(&row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("object %d: %w", n, err)
		}
		if row.Run == nil || row.Run.Date.IsZero() {
			return nil, fmt.Errorf("object %d: %w", n, ErrNoRun)
		}
		if len(runs) == 0 || !runs[len(runs)-1].Date.Equal(row.Run.Date) {
			runs = append(runs, Saved{Run: *row.Run})
		}
		last := &runs[len(runs)-1]
		last.Rows = append(last.Rows, row)
	}
	if len(runs) == 0 {
		return nil, errors.New("it is empty")
	}
	return runs, nil
}

// quietEnough is how much of the machine others may use before a run says of itself that it means little.
const quietEnough = 0.05

// Disturbed says what else the machine did, where it did too much.
func (r Run) Disturbed() string {
	if r.Others <= quietEnough {
		return ""
	}
	return fmt.Sprintf("Other programs used %.0f %% of the processors meanwhile: these figures mean little. Repeat the run on a quiet machine.",
		100*r.Others)
}

// switchReading says what the cost of a switch is about.
const switchReading = `A switch between processes: pgbench's SELECT 1 by 50 clients to the same by one, in transactions per second. The ratio to
pgx depends on it: with a connection for each lock the server switches processes at each statement.`

// SwitchLines are the costs of a switch, a line for each time.
func (r Run) SwitchLines() []string {
	var lines []string
	for _, s := range r.Switch {
		lines = append(lines, fmt.Sprintf("%s: %s with %d clients, %s with one: %s", s.When, thousands(s.Many), harness.SwitchClients,
			thousands(s.One), ratio(s.Ratio())))
	}
	return lines
}

// Machine is what a run was made on.
type Machine struct {
	CPU    string `json:"cpu"` // "2 x Intel Xeon ..."
	Memory string `json:"memory,omitempty"`
	System string `json:"system"`
	Go     string `json:"go"`
}

// thisMachine reads what it can; what is missing is left out.
func thisMachine() Machine {
	m := Machine{
		CPU:    fmt.Sprintf("%d processors", runtime.NumCPU()),
		System: runtime.GOOS + "/" + runtime.GOARCH,
		Go:     strings.TrimPrefix(runtime.Version(), "go"),
	}
	files, err := procfs.NewDefaultFS()
	if err != nil {
		return m
	}
	if all, err := files.CPUInfo(); err == nil && len(all) > 0 && all[0].ModelName != "" {
		m.CPU = fmt.Sprintf("%d x %s", runtime.NumCPU(), all[0].ModelName)
	}
	if memory, err := files.Meminfo(); err == nil && memory.MemTotal != nil {
		m.Memory = fmt.Sprintf("%.1f GiB", float64(*memory.MemTotal)/(1<<20))
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		version, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-")
		m.System = "Linux " + version + ", " + runtime.GOARCH
	}
	return m
}

// String returns all but the version of Go.
func (m Machine) String() string {
	if m.Memory != "" {
		return m.CPU + ", " + m.Memory + ", " + m.System
	}
	return m.CPU + ", " + m.System
}

// measured are the modules under test.
var measured = []string{
	"github.com/jackc/pgx/v5", "github.com/allisson/go-pglock/v3", "cirello.io/pglock", "github.com/pressly/goose/v3",
	"github.com/redis/rueidis/rueidislock", "github.com/bsm/redislock", "github.com/go-redsync/redsync/v4",
	"go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/server/v3",
}

// libraries are the modules under test with the versions that this program was built from.
func libraries() (found []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, path := range measured {
		for _, d := range info.Deps {
			if d.Path == path {
				found = append(found, d.Path+" "+d.Version)
			}
		}
	}
	return found
}
