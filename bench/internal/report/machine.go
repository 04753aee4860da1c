package report

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Machine is what a run was made on.
type Machine struct {
	CPU    string `json:"cpu"` // "2 x Intel Xeon ..."
	Memory string `json:"memory,omitempty"`
	System string `json:"system"`
	Go     string `json:"go"`
}

// ThisMachine reads what it can; what is missing is left out.
func ThisMachine() Machine {
	m := Machine{
		CPU:    fmt.Sprintf("%d processors", runtime.NumCPU()),
		System: runtime.GOOS + "/" + runtime.GOARCH,
		Go:     strings.TrimPrefix(runtime.Version(), "go"),
	}
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		m.CPU = fmt.Sprintf("%d x %s", runtime.NumCPU(), model)
	}
	var kb float64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f kB", &kb); err == nil {
		m.Memory = fmt.Sprintf("%.1f GiB", kb/(1<<20))
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		version, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-")
		m.System = "Linux " + version + ", " + runtime.GOARCH
	}
	return m
}

// field is the first value of that name in a file of "name: value" lines.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// measured are the modules under test.
var measured = []string{
	"github.com/jackc/pgx/v5", "github.com/allisson/go-pglock/v3", "cirello.io/pglock", "github.com/pressly/goose/v3",
	"github.com/redis/rueidis/rueidislock", "github.com/bsm/redislock", "github.com/go-redsync/redsync/v4",
	"go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/server/v3",
}

// String returns all but the version of Go.
func (m Machine) String() string {
	text := m.CPU
	if m.Memory != "" {
		text += ", " + m.Memory
	}
	return text + ", " + m.System
}

// libraries are the modules under test with the versions that this program was built from.
func libraries() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	var found []string
	for _, path := range measured {
		for _, d := range info.Deps {
			if d.Path == path {
				found = append(found, d.Path+" "+d.Version)
			}
		}
	}
	return found
}
