package measure

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// Meter reads the CPU time of this process and of one server.
type Meter struct {
	// Server is the process id of the server's first process; its descendants count. Zero means no server.
	Server int
}

// Reading is the CPU time used until now.
type Reading struct{ Client, Server time.Duration }

// Read reads both. A process that ends between two readings is counted once it has been waited for, so that nothing is
// lost but what a process uses whose parent never asks.
func (m Meter) Read() (Reading, error) {
	client, err := clientCPU()
	if err != nil {
		return Reading{}, err
	}
	if m.Server == 0 {
		return Reading{Client: client}, nil
	}
	server, err := treeCPU(m.Server, true)
	return Reading{Client: client, Server: server}, err
}

// Since is what was used after the earlier reading.
func (m Meter) Since(earlier Reading) (Reading, error) {
	now, err := m.Read()
	return Reading{Client: now.Client - earlier.Client, Server: now.Server - earlier.Server}, err
}

// clientCPU is exact for this process and for children that have ended; for living ones it is exact to a tick.
func clientCPU() (time.Duration, error) {
	var total time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			return 0, fmt.Errorf("reading this process's CPU time: %w", err)
		}
		total += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	children, err := treeCPU(os.Getpid(), false)
	return total + children, err
}

// treeCPU sums the CPU time of a process (where self is wanted) and of all its living descendants, each with the
// children that it has waited for.
func treeCPU(root int, self bool) (time.Duration, error) {
	tree, err := descendants(root)
	if err != nil {
		return 0, err
	}
	var ticks uint64
	for _, s := range tree {
		if s.pid != root || self {
			ticks += s.ticks
		}
	}
	return time.Duration(ticks) * tick, nil
}

// Others is the CPU time that all processes of the machine have used, without those of the given trees: what disturbs a
// measurement. The time that a hypervisor gave to somebody else counts.
func Others(roots ...int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	busy, err := parseBusy(string(text))
	if err != nil {
		return 0, err
	}
	ours := map[int]uint64{} // by process, since one tree may be a part of another
	for _, root := range roots {
		tree, err := descendants(root)
		if err != nil {
			return 0, err
		}
		for _, s := range tree {
			ours[s.pid] = s.ticks
		}
	}
	for _, ticks := range ours {
		busy -= min(busy, ticks)
	}
	return time.Duration(busy) * tick, nil
}
