//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A loss ends the child and the grandchild, by TERM where that suffices.
func TestALossEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "--grace", "1m", "deploy", "--", "sh", "-c", forks)
	child, grandchild := s.pid("child"), s.pid("grandchild")
	d.must(t, d.terminate("deploy"))
	s.wait(exitLost)
	if alive(child) || alive(grandchild) {
		t.Error("of the group something is left")
	}
	if text := s.stderr.String(); !strings.Contains(text, "the lock is lost, the command is ended (TERM now, KILL in 1m0s)") ||
		!strings.Contains(text, "terminating connection due to administrator command") {
		t.Error(text)
	}
}

// One that ignores TERM is killed after the grace.
func TestALossKillsAfterTheGrace(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "--grace", "300ms", "deploy", "--", "sh", "-c", stubbornForks)
	child, grandchild := s.pid("child"), s.pid("grandchild")
	began := time.Now()
	d.must(t, d.terminate("deploy"))
	s.wait(exitLost)
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("killed after %v", took)
	}
	if alive(child) || alive(grandchild) {
		t.Error("of the group something is left")
	}
}

// With no grace it is killed at once, and a command that is stopped is, too.
func TestALossKillsAtOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "--grace", "0s", "deploy", "--", "sh", "-c", stubbornForks)
	child, grandchild := s.pid("child"), s.pid("grandchild")
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.must(t, d.terminate("deploy"))
	s.wait(exitLost)
	if alive(child) || alive(grandchild) {
		t.Error("of the group something is left")
	}
}

// One that is stopped has to go on to see TERM.
func TestALossEndsAStoppedCommand(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "--grace", "1h", "deploy", "--", "sh", "-c", stays)
	child := s.pid("child")
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.must(t, d.terminate("deploy"))
	s.wait(exitLost)
	mustEnd(t, child)
}

// What the command has left in the background keeps the lock; the command's status stays.
func TestTheLockIsHeldUntilTheGroupHasEnded(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "deploy", "--", "sh", "-c", `(while ! [ -e go ]; do sleep 0.05; done) & echo $$ >child; exit 9`)
	mustEnd(t, s.pid("child"))
	other := start(t, d, "run", "deploy", "--", "true")
	d.must(t, d.until("deploy", false, 1))
	if n, err := d.count("deploy", true); n != 1 || err != nil {
		t.Errorf("%d hold the lock: %v", n, err)
	}
	d.must(t, os.WriteFile(filepath.Join(s.folder, "go"), []byte("go"), 0o600))
	s.wait(9)
	other.wait(0)
}

// Also what is left in the background is ended when the lock is lost.
func TestALossAfterTheLeaderHasEnded(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "deploy", "--", "sh", "-c", `sleep 1000 & echo $! >grandchild; echo $$ >child; exit 0`)
	grandchild := s.pid("grandchild")
	mustEnd(t, s.pid("child"))
	d.must(t, d.terminate("deploy"))
	s.wait(exitLost)
	if alive(grandchild) {
		t.Error("the grandchild goes on")
	}
}
