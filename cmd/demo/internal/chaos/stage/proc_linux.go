package stage

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopBound is how long a signal may take to stop a process.
const stopBound = 5 * time.Second

// stop stops a process, and returns when the kernel has stopped all of its threads.
func stop(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopBound)
	defer cancel()
	return Until(ctx, func() bool {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return true
		}
		_, state, found := strings.Cut(string(raw), ") ") // the name before it has no parenthesis: it is ours
		return found && strings.ContainsAny(state[:1], "TtZX")
	})
}

// Until asks again and again, soon and then less often, until it is so.
func Until(ctx context.Context, so func() bool) error {
	for pause := 2 * time.Millisecond; !so(); pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return nil
}

// Usage is what a process uses, as the kernel tells.
type Usage struct {
	Resident    uint64 // bytes
	Descriptors int
}

// UsageOf asks the kernel; ok is false where the process is gone.
func UsageOf(pid int) (u Usage, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(raw))
	if err != nil || len(fields) < 2 {
		return u, false
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return u, false
	}
	u.Resident = pages * uint64(os.Getpagesize())
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.Descriptors = len(descriptors)
	return u, err == nil
}

// StopWorker freezes a worker process, WakeWorker wakes it.
func (s *Stage) StopWorker(process int) error { return stop(s.Worker(process).PID()) }

// WakeWorker ends StopWorker.
func (s *Stage) WakeWorker(process int) error { return s.Worker(process).Signal(syscall.SIGCONT) }

// Freeze stops a process's forwarder, Thaw wakes it.
func (s *Stage) Freeze(process int) error {
	g := s.gateways[process]
	if g == nil {
		return fmt.Errorf("process %d has no forwarder", process)
	}
	return stop(g.cmd.Process.Pid)
}

// Thaw ends Freeze.
func (s *Stage) Thaw(process int) error {
	return s.gateways[process].cmd.Process.Signal(syscall.SIGCONT)
}
