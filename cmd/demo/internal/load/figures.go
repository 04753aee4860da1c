package load

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
)

// Figure is one value of the report in words. Its name is the path of the field in JSON, as wait_ms.p99.
type Figure struct {
	Name  string `json:"name"`
	Label string `json:"label"`
	Text  string `json:"text"`
}

// figuresOf are all values of the report, in the order of JSON.
func figuresOf(r *Report) []Figure {
	all := []Figure{
		{"server", "server", r.Server},
		{"processes", "worker processes", report.Count(r.Processes)},
		{"workers", "workers of each", report.Count(r.Workers)},
		{"keys", "keys", report.Count(r.Keys)},
		{"wait", "waits by", r.Wait},
		{"seconds", "time", fmt.Sprintf("%.3f s", r.Seconds)},
		{"acquired", "acquired", report.Count(r.Acquired)},
		{"acquired_per_second", "acquired per second", report.Count(uint64(r.AcquiredPerSecond))},
		{"cancelled", "cancelled", report.Count(r.Cancelled)},
		{"failed", "failed", report.Count(r.Failed)},
		{"lost", "lost", report.Count(r.Lost)},
		{"violations", "violations", report.Count(r.Violations)},
		{"fairness_jain", "fairness over the processes (Jain)", fmt.Sprintf("%.4f", r.FairnessJain)},
	}
	all = append(all, figuresOfWait("", "wait", r.WaitMS)...)
	if r.Readers != nil {
		all = append(all, Figure{"readers.acquired", "acquired by readers", report.Count(r.Readers.Acquired)})
		all = append(all, figuresOfWait("readers.", "readers' wait", r.Readers.WaitMS)...)
		all = append(all, Figure{"readers.most_at_once", "readers of one key at one time", report.Count(r.Readers.MostAtOnce)})
	}
	if r.Writers != nil {
		all = append(all, Figure{"writers.acquired", "acquired by writers", report.Count(r.Writers.Acquired)})
		all = append(all, figuresOfWait("writers.", "writers' wait", r.Writers.WaitMS)...)
	}
	return append(all,
		Figure{"sessions", "sessions for locks at most", report.Count(r.Sessions)},
		Figure{"leaked.server_locks", "locks left at the server", report.Count(r.Leaked.ServerLocks)},
		Figure{"leaked.connections", "connections left", report.Count(r.Leaked.Connections)},
		Figure{"leaked.goroutines", "goroutines left", report.Count(r.Leaked.Goroutines)},
	)
}

func figuresOfWait(prefix, label string, w WaitMS) []Figure {
	ms := report.Millis
	return []Figure{
		{prefix + "wait_ms.p50", label + " p50", ms(w.P50)},
		{prefix + "wait_ms.p90", label + " p90", ms(w.P90)},
		{prefix + "wait_ms.p99", label + " p99", ms(w.P99)},
		{prefix + "wait_ms.p999", label + " p99.9", ms(w.P999)},
		{prefix + "wait_ms.max", label + ", the longest", ms(w.Max)},
	}
}
