//go:build unix

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long SIGSTOP may take to show in the process table.
const stopTimeout = 5 * time.Second

// signalTree signals the process and its children. PostgreSQL puts each backend into a session of its own, so a signal
// to the process group would reach the postmaster alone. The postmaster is stopped while its children are listed, or
// else one that it forks meanwhile would be missed.
func (p *process) signalTree(sig syscall.Signal) error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	kids, err := children(p.pid)
	if err != nil {
		return errors.Join(err, p.signal(syscall.SIGCONT))
	}
	for _, pid := range kids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return errors.Join(fmt.Errorf("signal %v to %d: %w", sig, pid, err), p.signal(syscall.SIGCONT))
		}
	}
	if sig == syscall.SIGSTOP {
		return waitStopped(append(kids, p.pid))
	}
	if err := p.signal(sig); err != nil {
		return err
	}
	if err := p.signal(syscall.SIGCONT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// wake lets a stopped server run again.
func (p *process) wake() {
	_ = p.signalTree(syscall.SIGCONT)
}

// strays lists the processes that work in a data folder, which every process of its server does: those too whose
// postmaster was killed, and which init has adopted. Systems without /proc have none to show.
func strays(dataDir string) []int {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil
	}
	var pids []int
	for _, link := range links {
		if cwd, err := os.Readlink(link); err != nil || strings.TrimSuffix(cwd, " (deleted)") != dataDir {
			continue // another's, or gone meanwhile
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func killPID(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

// children lists the processes whose parent is pid.
func children(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return childrenByPs(pid)
	}
	var kids []int
	for _, path := range stats {
		if fields := procStat(path); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			kid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, err
			}
			kids = append(kids, kid)
		}
	}
	return kids, nil
}

// procStat returns the fields of a stat file that follow the program's name: state, parent, ... The name may hold
// blanks and parentheses, hence the search for the last one. Nil where the process is gone.
func procStat(path string) []string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	_, rest, ok := cutLast(string(raw), ")")
	if !ok {
		return nil
	}
	return strings.Fields(rest)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func childrenByPs(pid int) ([]int, error) {
	out, err := output("ps", "-A", "-o", "pid=", "-o", "ppid=")
	if err != nil {
		return nil, err
	}
	var kids []int
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 2 || f[1] != strconv.Itoa(pid) {
			continue
		}
		kid, err := strconv.Atoi(f[0])
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
	return kids, nil
}

// waitStopped returns when the kernel has stopped every process: the signal alone is no promise that one which is
// running on another processor answers nothing more. Systems without /proc are trusted.
func waitStopped(pids []int) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return pollUntil(ctx, func() bool {
		for _, pid := range pids {
			fields := procStat(fmt.Sprintf("/proc/%d/stat", pid))
			if len(fields) > 0 && !strings.ContainsAny(fields[0], "TtZX") {
				return false
			}
		}
		return true
	})
}
