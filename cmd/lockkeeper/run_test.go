//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// started is a lockkeeper that runs. Its output is complete when wait has returned.
type started struct {
	t              *testing.T
	cmd            *exec.Cmd
	folder         string
	stdout, stderr bytes.Buffer
}

// start runs the program in a folder of its own, without a terminal.
func start(t *testing.T, d onServer, args ...string) *started {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	s := &started{t: t, folder: t.TempDir()}
	s.cmd = exec.CommandContext(ctx, program(t), args...)
	s.cmd.Dir, s.cmd.Env = s.folder, environ(d.DSNOf(d.name))
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	s.cmd.WaitDelay = bound / 3
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal of the tester's
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *started) signal(number syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(number); err != nil {
		s.t.Fatal(err)
	}
}

// wait expects an exit status.
func (s *started) wait(want int) {
	s.t.Helper()
	err := s.cmd.Wait()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Fatalf("%v\n%s%s", err, &s.stdout, &s.stderr)
	}
	got := s.cmd.ProcessState.ExitCode()
	if got != want {
		s.t.Fatalf("the exit status is %d, want %d\n%s%s", got, want, &s.stdout, &s.stderr)
	}
}

// file waits for a file in the program's folder, and returns what it holds.
func (s *started) file(name string) string {
	s.t.Helper()
	for began := time.Now(); ; {
		if text, err := os.ReadFile(filepath.Join(s.folder, name)); err == nil && len(text) > 0 {
			return strings.TrimSpace(string(text))
		}
		if time.Since(began) > bound {
			s.t.Fatalf("there is no file %s", name)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// pid is a process that the command has written down.
func (s *started) pid(name string) int {
	s.t.Helper()
	pid, err := strconv.Atoi(s.file(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool {
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && strings.Contains(string(stat), ") Z ") {
		return false // its parent is gone too, and whoever is the first process here does not wait
	}
	return syscall.Kill(pid, 0) == nil
}

// mustEnd waits for the end of a process.
func mustEnd(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		for began := time.Now(); alive(pid); {
			if time.Since(began) > bound {
				t.Fatalf("process %d goes on", pid)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}

// child is a script that has started a grandchild, which ignores TERM when it is to.
const (
	forks         = `sleep 1000 & echo $! >grandchild.new; mv grandchild.new grandchild; echo $$ >child.new; mv child.new child; wait`
	stubbornForks = `trap '' TERM; ` + forks + `; wait; wait`
	stays         = `echo $$ >child.new; mv child.new child; exec sleep 1000`
)

func (d onServer) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Signals reach the whole group, and the status tells of them.
func TestSignalsAreForwarded(t *testing.T) {
	t.Parallel()
	for number, name := range map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGINT: "INT", syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			s := start(t, d, "run", "deploy", "--", "sh", "-c", "ulimit -c 0; "+stays)
			child := s.pid("child")
			s.signal(number)
			s.wait(128 + int(number))
			mustEnd(t, child)
			d.must(t, d.until("deploy", true, 0))
		})
	}
	t.Run("one that is caught", func(t *testing.T) {
		t.Parallel()
		s := start(t, newDatabase(t), "run", "deploy", "--", "sh", "-c", `trap 'echo caught; exit 3' USR1; echo $$ >child; while :; do sleep 0.05; done`)
		s.pid("child")
		s.signal(syscall.SIGUSR1)
		s.wait(3)
		if s.stdout.String() != "caught\n" {
			t.Error(s.stdout.String())
		}
	})
}

// One that is stopped gets TERM all the same.
func TestTERMReachesAStoppedCommand(t *testing.T) {
	t.Parallel()
	s := start(t, newDatabase(t), "run", "deploy", "--", "sh", "-c", stays)
	if err := syscall.Kill(s.pid("child"), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGTERM)
	s.wait(128 + int(syscall.SIGTERM))
}

// HUP and INT that are ignored, as by nohup and in the background of a script, are the command's as well. Of others Go does not tell.
func TestAnIgnoredSignalStaysIgnored(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for _, name := range []string{"HUP", "INT"} {
		cmd := exec.Command("sh", "-c", `trap '' `+name+`; exec "$0" run deploy -- sh -c 'kill -'`+name+`' $$; echo survived'`, program(t))
		cmd.Env = environ(d.DSNOf(d.name))
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != "survived\n" {
			t.Errorf("%s: %s: %v", name, out, err)
		}
	}
}

// A signal that comes while the lock is waited for ends the wait, and leaves nothing.
func TestASignalEndsTheWait(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	holder := start(t, d, "run", "deploy", "--", "sh", "-c", stays)
	holder.pid("child")
	for _, number := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		waiter := start(t, d, "run", "deploy", "--", "echo", "ran")
		d.must(t, d.until("deploy", false, 1))
		waiter.signal(number)
		waiter.wait(128 + int(number))
		if waiter.stdout.String() != "" || !strings.Contains(waiter.stderr.String(), "not acquired: ended by signal") {
			t.Errorf("%s%s", &waiter.stdout, &waiter.stderr)
		}
		d.must(t, d.until("deploy", false, 0))
	}
	holder.signal(syscall.SIGTERM)
	holder.wait(128 + int(syscall.SIGTERM))
}

// When lockkeeper itself is killed, nothing of the group works on under a lock that is free.
func TestTheGroupDiesWithLockkeeper(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "deploy", "--", "sh", "-c", "trap '' INT; "+stubbornForks)
	child, grandchild := s.pid("child"), s.pid("grandchild")
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT); err != nil { // a Ctrl-C, which is not the watchdog's end
		t.Fatal(err)
	}
	s.signal(syscall.SIGKILL)
	s.wait(-1)
	mustEnd(t, child, grandchild)
	d.must(t, d.until("deploy", true, 0))
}

// One that was stopped for longer than its lock was trusted finds it lost when it goes on: the server has ended its session.
func TestAStoppedLockkeeperFindsTheLockLost(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "deploy", "--", "sh", "-c", stays)
	child := s.pid("child")
	s.signal(syscall.SIGSTOP)
	d.must(t, d.terminate("deploy"))
	d.must(t, d.until("deploy", true, 0))
	s.signal(syscall.SIGCONT)
	s.wait(exitLost)
	mustEnd(t, child)
}

// One that runs for longer than the watchdog bears silence is not killed.
func TestALongCommand(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for tries := 1; ; tries++ {
		s := start(t, d, "run", "deploy", "--", "sleep", "10")
		_ = s.cmd.Wait()
		switch got := s.cmd.ProcessState.ExitCode(); {
		case got == 0:
			return
		case got != exitLost || tries == 4 || !strings.Contains(s.stderr.String(), "no answer within"): // of a machine that stands still
			t.Fatalf("the exit status is %d\n%s", got, &s.stderr)
		}
	}
}

// One that does not run, while its command does: the command is killed before the server could free the lock.
func TestTheGroupDiesBeforeAStoppedLockkeepersLockIsFree(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "deploy", "--", "sh", "-c", stubbornForks)
	child, grandchild := s.pid("child"), s.pid("grandchild")
	s.signal(syscall.SIGSTOP)
	stopped := time.Now()
	mustEnd(t, child, grandchild)
	// The server frees it 14 s after the last question, which was at most 5 s ago.
	if n, err := d.count("deploy", true); err != nil || n != 1 && time.Since(stopped) < 9*time.Second {
		t.Errorf("%d sessions hold the lock when the command has ended: %v", n, err)
	}
	s.signal(syscall.SIGCONT)
	s.wait(exitLost)
}

// A variable that would be too long for the system is left out, and does not keep the command from being run.
func TestAKeyThatIsTooLongForAVariable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for most, want := range map[int]string{
		longestVariable - len("LOCKKEEPER_KEY="): strconv.Itoa(longestVariable-len("LOCKKEEPER_KEY=")) + " id\n",
		longestVariable:                          "4 id\n",
	} {
		s := start(t, d, "run", strings.Repeat("k", most), "--", "sh", "-c", `key=${LOCKKEEPER_KEY-none}; echo ${#key} ${LOCKKEEPER_ID:+id}`)
		s.wait(0)
		if got := s.stdout.String(); got != want {
			t.Errorf("of %d bytes: %q", most, got)
		}
	}
}

// Two terminals, many processes: they never overlap. The proof is a folder, which one process at a time can make.
func TestProcessesNeverOverlap(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	folder := filepath.Join(t.TempDir(), "inside")
	const n = 8
	var all [n]*started
	for i := range all {
		all[i] = start(t, d, "run", "deploy", "--", "sh", "-c", `mkdir "$0" && sleep 0.02 && rmdir "$0"`, folder)
	}
	for _, s := range all {
		s.wait(0)
	}
}

// Of all who call it in one period one runs it, also when it has ended long before the others come.
func TestOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	args := []string{"run", "--once", "1000h", "report", "--", "sh", "-c", `echo $$ >child; echo "$LOCKKEEPER_PERIOD" >period; exit 5`}
	winner := start(t, d, args...)
	winner.file("period")
	late := start(t, d, args...)
	late.wait(exitNotAcquired)
	if text := late.stderr.String(); !strings.Contains(text, "already run in this period") || !strings.Contains(text, `application "lockkeeper run report"`) {
		t.Error(text)
	}
	mustEnd(t, winner.pid("child"))
	winner.signal(syscall.SIGTERM) // while it stays until the period is over
	winner.wait(5)
	if !strings.Contains(winner.stderr.String(), "before the period is over") {
		t.Error(winner.stderr.String())
	}
	// A short period ends by itself.
	short := start(t, d, "run", "--once", "1s", "--clock-skew", "0s", "report", "--", "true")
	short.wait(0)
}

// Who ends the command of a period wants lockkeeper to end too.
func TestOnceEndsWithItsCommand(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "--once", "1000h", "report", "--", "sh", "-c", stays)
	s.pid("child")
	s.signal(syscall.SIGTERM)
	s.wait(128 + int(syscall.SIGTERM))
	if !strings.Contains(s.stderr.String(), "terminated: the period's lock is released before the period is over") {
		t.Error(s.stderr.String())
	}
	d.must(t, d.untilFree())
	start(t, d, "run", "--once", "1000h", "report", "--", "sh", "-c", "kill -INT $$").wait(128 + int(syscall.SIGINT))
}

// A standby's locks exclude nobody on the primary.
func TestDoctorOnAStandby(t *testing.T) {
	t.Parallel()
	primary := pgtest.New(t, pgserver.Options{})
	standby := pgtest.Standby(t, primary)
	s := start(t, onServer{standby, pgserver.Database}, "doctor")
	s.wait(exitFailed)
	for _, want := range []string{"failure  primary      this is a standby", "target_session_attrs=read-write", "This does not serve for locks"} {
		if !strings.Contains(s.stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, &s.stdout)
		}
	}
}

// A server that falls silent: the command is ended before the server could free the lock, and lockkeeper does not wait for it.
func TestASilentServer(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, pgserver.Options{})
	s := start(t, onServer{server, pgserver.Database}, "run", "deploy", "--", "sh", "-c", stays)
	child := s.pid("child")
	if err := server.SignalAll(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.wait(exitLost)
	took := time.Since(began)
	if err := server.SignalAll(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, child)
	if text := s.stderr.String(); took > 30*time.Second || !strings.Contains(text, "the lock is lost, the command is ended") {
		t.Errorf("took %v: %s", took, text)
	}
	t.Logf("took %v: %s", took, &s.stderr)
}

// A server that restarts: who holds loses the lock, who waits goes on waiting.
func TestAServerThatRestarts(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, pgserver.Options{})
	d := onServer{server, pgserver.Database}
	holder := start(t, d, "run", "deploy", "--", "sh", "-c", stays)
	holder.pid("child")
	waiter := start(t, d, "run", "deploy", "--", "echo", "ran")
	d.must(t, d.until("deploy", false, 1))
	d.must(t, server.Restart(t.Context(), pgserver.Fast))
	holder.wait(exitLost)
	waiter.wait(0)
	if waiter.stdout.String() != "ran\n" {
		t.Errorf("%s%s", &waiter.stdout, &waiter.stderr)
	}
}
