package job

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// members looks into /proc for the living of a process group: kill(2) counts those that have ended too, until somebody waits for them, and
// the first process of a container often waits for nobody's children but its own. It is for one goroutine.
type members struct {
	// found is a member that lived when all were looked through, 0 if that is not known. While it lives, it alone is looked at.
	found int
}

// allEnded reports whether the group has members and all of them have ended. It is false where that cannot be seen.
func (m *members) allEnded(group int) bool {
	if m.found != 0 {
		if state, err := stateOf(m.found, group); err == nil && state == living {
			return false
		}
		m.found = 0
	}
	if _, err := os.ReadFile("/proc/1/stat"); err != nil { // it hides the processes of others, or is not there
		return false
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	ended := false
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // no process
		}
		switch state, err := stateOf(pid, group); {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errGone):
		case err != nil:
			return false
		case state == living:
			m.found = pid
			return false
		case state == zombie:
			ended = true
		}
	}
	return ended
}

// memberState is what a process is to a group.
type memberState int

const (
	stranger memberState = iota
	living
	zombie
)

// errGone is returned for a process that ended while its file was read.
var errGone = errors.New("the process has gone")

// stateOf reads /proc/PID/stat: "PID (NAME) STATE PARENT GROUP ...", in which the 20th field is the number of threads. A process whose first thread
// has ended looks like a zombie, and lives while it has others.
func stateOf(pid, group int) (memberState, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		if _, missing := os.Stat("/proc/" + strconv.Itoa(pid)); errors.Is(missing, fs.ErrNotExist) {
			return stranger, errGone // the read can fail by ESRCH
		}
		return stranger, err
	}
	const state, itsGroup, threads = 0, 2, 17 // behind the name
	line := string(text)
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) <= threads {
		return stranger, errors.New("not understood")
	}
	switch {
	case fields[itsGroup] != strconv.Itoa(group):
		return stranger, nil
	case strings.ContainsAny(fields[state], "ZX") && (fields[threads] == "0" || fields[threads] == "1"):
		return zombie, nil
	}
	return living, nil
}
