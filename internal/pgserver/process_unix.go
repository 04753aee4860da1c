//go:build unix

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// pollEvery is how often a waiting call looks again: short against what it waits for (tens of milliseconds).
const pollEvery = 4 * time.Millisecond

// process is a child that is reaped by polling, so that no goroutine waits for it between calls.
type process struct {
	pid int

	mu     sync.Mutex // guards exited and status, and keeps a signal from reaching a reused pid
	exited bool
	status syscall.WaitStatus
}

// startProcess starts a child in a process group of its own: a Ctrl-C in the terminal is not meant for it.
func startProcess(a account, dir string, output *os.File, program string, args ...string) (*process, error) {
	cmd := exec.Command(program, args...) //nolint:noctx // it outlives the call that starts it
	cmd.Dir = dir
	cmd.Env = serverEnv(dir)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = a.sysProcAttr()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	pid := cmd.Process.Pid
	// The kernel keeps the pid until poll reaps it; Go's own handle is not needed any more.
	_ = cmd.Process.Release()
	return &process{pid: pid}, nil
}

// poll reaps the child if it has ended, and reports whether it has.
func (p *process) poll() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.exited {
		pid, err := syscall.Wait4(p.pid, &p.status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil, pid == p.pid:
			p.exited = true
		default:
			return false
		}
	}
	return true
}

// wait returns when the child has ended, or with ctx.
func (p *process) wait(ctx context.Context) error {
	return pollUntil(ctx, p.poll)
}

// signal reports os.ErrProcessDone where the child has been reaped.
func (p *process) signal(sig syscall.Signal) error {
	if p.poll() {
		return os.ErrProcessDone
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exited {
		return os.ErrProcessDone
	}
	return syscall.Kill(p.pid, sig)
}

// pollUntil calls done until it is true, or returns ctx's error.
func pollUntil(ctx context.Context, done func() bool) error {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	for {
		if done() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			timer.Reset(pollEvery)
		}
	}
}

// run runs a program to its end and returns what it printed in the error. It and its children end with ctx.
func run(ctx context.Context, a account, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = serverEnv(dir)
	cmd.SysProcAttr = a.sysProcAttr()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, tail(string(out)))
	}
	return nil
}

// serverEnv has nothing of the caller's PG* variables, locale or secrets.
func serverEnv(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "TZ=UTC"}
}

func (a account) sysProcAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.set {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// mayPass looks at the permission bits only; supplementary groups are dropped when the server starts.
func (a account) mayPass(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	bit := fs.FileMode(0o001)
	switch {
	case int(st.Uid) == a.uid:
		bit = 0o100
	case int(st.Gid) == a.gid:
		bit = 0o010
	}
	return info.Mode().Perm()&bit != 0
}
