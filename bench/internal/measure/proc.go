package measure

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/*/stat. Linux shows 100 a second to programs whatever the kernel's own clock is.
const tick = time.Second / 100

// stat is what this package wants of /proc/<pid>/stat.
type stat struct {
	pid, parent int
	// ticks of CPU time in user and system mode, with that of children that were waited for.
	ticks uint64
}

// parseStat reads one line of /proc/<pid>/stat. The second field is the program's name in parentheses, and may hold
// blanks and parentheses itself.
func parseStat(line []byte) (stat, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 1 || end < open {
		return stat{}, fmt.Errorf("no program name in %q", line)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:open])))
	if err != nil {
		return stat{}, fmt.Errorf("process id: %w", err)
	}
	// After the name come fields 3 (state), 4 (parent), ..., 14 to 17: utime, stime, cutime, cstime.
	fields := strings.Fields(string(line[end+1:]))
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("%d fields after the program name, want 15 or more", len(fields))
	}
	s := stat{pid: pid}
	if s.parent, err = strconv.Atoi(fields[1]); err != nil {
		return stat{}, fmt.Errorf("parent: %w", err)
	}
	for _, field := range fields[11:15] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("CPU time: %w", err)
		}
		s.ticks += n
	}
	return s, nil
}

// parseBusy reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
func parseBusy(text string) (uint64, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("%q is no line of all processors", line)
	}
	var busy uint64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of the machine: %w", err)
		}
		busy += n
	}
	return busy, nil
}

// descendants returns a process and all processes below it.
func descendants(root int) ([]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("CPU time and memory are read from /proc: %w", err)
	}
	children := map[int][]stat{}
	var tree []stat
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := parseStat(line)
		if err != nil {
			return nil, fmt.Errorf("/proc/%s/stat: %w", entry.Name(), err)
		}
		if s.pid == root {
			tree = append(tree, s)
		}
		children[s.parent] = append(children[s.parent], s)
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("process %d is not there", root)
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree, nil
}

// gone reports that a process ended while it was looked at.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(err.Error(), "no such process")
}

// PeakRSS is the most memory that this process ever had resident. It is not taken from getrusage, whose figure a child
// inherits from the process that started it.
func PeakRSS() (int64, error) { return statusBytes("self", "VmHWM") }

// RSS is the memory that a process has resident now.
func RSS(pid int) (int64, error) { return statusBytes(strconv.Itoa(pid), "VmRSS") }

func statusBytes(process, field string) (int64, error) {
	text, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0, err
	}
	return parseStatus(string(text), field)
}

func parseStatus(text, field string) (int64, error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		if name != field {
			continue
		}
		kb, ok := strings.CutSuffix(strings.TrimSpace(value), " kB")
		if !ok {
			return 0, fmt.Errorf("%s is %q, want kB", field, value)
		}
		n, err := strconv.ParseInt(kb, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", field, err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("no %s in /proc/*/status", field)
}
