//go:build unix

package job

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	switch append(os.Args, "")[1] {
	case watchArgument:
		Watch(os.Stdin)
		os.Exit(0)
	case becomeArgument:
		runtime.LockOSThread() // so another thread than the first becomes the command
		result := make(chan error)
		go func() { result <- Become(os.Args[2:]) }() // Joined below.
		fmt.Fprintln(os.Stderr, <-result)
		os.Exit(126)
	}
	if os.Getenv("LOCKKEEPER_JOB_TEST_RUNS_UNGUARDED") != "" {
		fmt.Fprintln(os.Stderr, runUnguarded())
		os.Exit(1)
	}
	if os.Getenv("LOCKKEEPER_JOB_TEST_LEAVES_ONE") != "" {
		os.Exit(leaveOne())
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
}

// What makes this program a watchdog, and the command's process.
const watchArgument, becomeArgument = "watch", "become"

// runUnguarded is what a process of this test's does: it runs a command whose watchdog was killed.
func runUnguarded() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	w, err := StartWatchdog(program, []string{watchArgument}, []string{becomeArgument})
	if err != nil {
		return err
	}
	if err := w.process.Kill(); err != nil {
		return err
	}
	if _, err := w.process.Wait(); err != nil {
		return err
	}
	_, err = Run(Command{Path: "/bin/sh", Args: []string{"sh", "-c", "echo $$; exec sleep 1000"}}, fakeHold{nil, func() error { return nil }}, w)
	return err
}

// leaveOne is what a process of a test's does: it runs a command that leaves another in the background, and ends with its status.
func leaveOne() int {
	r, err := Run(Command{
		Path: "/bin/sh", Args: []string{"sh", "-c", "sleep 0.1 & exit 4"}, Tell: func(string, ...any) {},
	}, fakeHold{nil, func() error { return nil }}, nil)
	if err != nil {
		return 125
	}
	return r.Status
}

// fakeHold is one whose end a test chooses.
type fakeHold struct {
	done chan struct{}
	err  func() error
}

func (h fakeHold) Done() <-chan struct{} { return h.done }
func (h fakeHold) Err() error            { return h.err() }

func run(t *testing.T, hold Hold, script string, watchdog *Watchdog) (Result, []string) {
	t.Helper()
	var told []string
	r, err := Run(Command{
		Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: os.Environ(), Grace: time.Minute,
		Tell: func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) },
	}, hold, watchdog)
	if err != nil {
		t.Fatal(err)
	}
	return r, told
}

// A hold that has ended by the clock, although nobody has told of it yet: the command worked without a lock at its end.
func TestALossThatIsNotToldYet(t *testing.T) {
	lost := errors.New("trust is over")
	r, told := run(t, fakeHold{nil, func() error { return lost }}, "exit 0", nil)
	if !r.Lost || len(told) != 1 || !strings.Contains(told[0], lost.Error()) {
		t.Errorf("%+v: %q", r, told)
	}
}

// A loss is told once, with its cause, and does not change the command's status.
func TestALossWithAnEnd(t *testing.T) {
	lost := errors.New("cut off")
	done := make(chan struct{})
	close(done)
	r, told := run(t, fakeHold{done, func() error { return lost }}, "trap 'exit 3' TERM; while :; do sleep 0.01; done", nil)
	if !r.Lost || len(told) != 1 || !strings.Contains(told[0], lost.Error()) {
		t.Errorf("%+v: %q", r, told)
	}
}

// A command of another user, as behind sudo, cannot be ended: that is told, once.
func TestALossThatCannotEndTheCommandIsTold(t *testing.T) {
	var told []string
	j := job{
		Command: Command{Grace: time.Minute, Tell: func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }},
		send:    func(int, syscall.Signal) error { return syscall.EPERM }, group: 4711, hold: fakeHold{nil, func() error { return errors.New("cut off") }},
	}
	j.forward(syscall.SIGTERM)
	if len(told) != 1 || told[0] != "terminated cannot be passed on to the command: process group 4711: operation not permitted" {
		t.Errorf("told before the loss: %q", told)
	}
	told = nil
	j.lose()
	_ = j.signal(syscall.SIGKILL)
	if len(told) != 2 || !strings.Contains(told[1], "cannot be ended, and goes on without the lock: process group 4711: operation not permitted") {
		t.Errorf("%q", told)
	}
}

func TestStatuses(t *testing.T) {
	held := fakeHold{nil, func() error { return nil }}
	for script, want := range map[string]int{"exit 0": 0, "exit 255": 255, "kill -KILL $$": 137, "kill -USR1 $$": 128 + int(syscall.SIGUSR1)} {
		if r, told := run(t, held, script, nil); r.Status != want || r.Lost || len(told) != 0 {
			t.Errorf("%s: %+v, want %d: %q", script, r, want, told)
		}
	}
}

// The rest of a group that lasts is told of, once.
func TestTheRestIsToldOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	t.Setenv("FILE", file)
	var told []string
	r, err := Run(Command{
		Path: "/bin/sh", Args: []string{"sh", "-c", `sleep 1000 & echo $! >"$FILE"; exit 4`}, Env: os.Environ(),
		Tell: func(format string, args ...any) {
			told = append(told, fmt.Sprintf(format, args...))
			text, err := os.ReadFile(file)
			pid, convErr := strconv.Atoi(strings.TrimSpace(string(text)))
			if err := errors.Join(err, convErr); err != nil {
				t.Error(err)
			} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		},
	}, fakeHold{nil, func() error { return nil }}, nil)
	if err != nil || r.Status != 4 || len(told) != 1 || !strings.Contains(told[0], "has ended with status 4; the lock is held until the rest of its process group") {
		t.Errorf("%+v: %q: %v", r, told, err)
	}
}

func TestACommandThatCannotBeStarted(t *testing.T) {
	_, err := Run(Command{Path: "/dev/null", Args: []string{"null"}}, fakeHold{nil, func() error { return nil }}, nil)
	if !errors.Is(err, syscall.EACCES) {
		t.Error(err)
	}
	if text := Describe("null", err).Error(); text != "null: permission denied" {
		t.Error(text)
	}
}

// A watchdog kills the group that it guards when its pipe ends, and nobody when that group has ended.
func TestWatch(t *testing.T) {
	for _, test := range []struct {
		lines  string
		killed bool
	}{{"%d\n", true}, {"%d\nbeat\npause\n", true}, {"%d\nbeat\ndone\n", false}, {"", false}, {"done\n", false}, {"nonsense\n0\n1\n-1\n", false}} {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := strings.ReplaceAll(test.lines, "%d", strconv.Itoa(cmd.Process.Pid))
		Watch(strings.NewReader(lines))
		if test.killed {
			if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL { //nolint:forcetypeassert // on unix it is
				t.Errorf("%q: %v", lines, err)
			}
			continue
		}
		_ = cmd.Process.Signal(syscall.SIGTERM) // which comes too late for one that was killed
		_ = cmd.Wait()
		if state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || state.Signal() != syscall.SIGTERM {
			t.Errorf("%q: %v", lines, cmd.ProcessState)
		}
	}
}

// A watchdog that hears no beat kills the group, unless it was told of a pause.
func TestWatchHearsNoBeat(t *testing.T) {
	for _, lines := range []string{"4711\n", "4711\nbeat\n", "4711\npause\nbeat\n"} {
		hearsNothingAfter(t, lines, 4711)
	}
	for _, lines := range []string{"4711\npause\n", "4711\nbeat\npause\n", "4711\nbeat\ndone\n", "beat\n"} {
		hearsNothingAfter(t, lines, 0)
	}
}

// hearsNothingAfter wants that group to be killed when the silence after these lines is over, and nobody where it is 0.
func hearsNothingAfter(t *testing.T, lines string, want int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pipe, ours := io.Pipe()
		killed := make(chan int, 2) // sent by the watchdog, received here
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			watch(pipe, func(group int) { killed <- group })
		}()
		_, _ = io.WriteString(ours, lines)
		time.Sleep(silence - 1) //nolint:forbidigo // in a bubble
		if len(killed) > 0 {
			t.Errorf("%q: %d was killed too early", lines, <-killed)
		}
		time.Sleep(time.Hour) //nolint:forbidigo // in a bubble
		got := 0
		if len(killed) > 0 {
			got = <-killed
		}
		if got != want || len(killed) > 0 {
			t.Errorf("%q: %d was killed, and %d more", lines, got, len(killed))
		}
		_, _ = io.WriteString(ours, "done\n")
		_ = ours.Close()
		<-ended
	})
}

// startWatchdog starts this program as a watchdog.
func startWatchdog(t *testing.T) *Watchdog {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, err := StartWatchdog(program, []string{watchArgument}, []string{becomeArgument})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The watchdog's process ends with Close, and has no group any more then.
func TestWatchdogCloses(t *testing.T) {
	w := startWatchdog(t)
	r, _ := run(t, fakeHold{nil, func() error { return nil }}, "exit 6", w)
	if r.Status != 6 {
		t.Errorf("%+v", r)
	}
	w.Close()
	if err := syscall.Kill(w.process.Pid, 0); err == nil {
		t.Error("the watchdog goes on")
	}
	var none *Watchdog
	none.Close()
}

// startStoppedWatchdog starts one that somebody stops.
func startStoppedWatchdog(t *testing.T) *Watchdog {
	t.Helper()
	w := startWatchdog(t)
	if err := w.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return w
}

// mustNotWaitFor does something that a stopped watchdog must not keep from its end.
func mustNotWaitFor(t *testing.T, w *Watchdog, what func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { // Joined below.
		defer close(done)
		what()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it waits for the watchdog")
		_ = w.process.Signal(syscall.SIGCONT)
		<-done
	}
}

// A watchdog that somebody has stopped does not keep lockkeeper from its end.
func TestAStoppedWatchdogCloses(t *testing.T) {
	w := startStoppedWatchdog(t)
	r, _ := run(t, fakeHold{nil, func() error { return nil }}, "exit 6", w)
	if r.Status != 6 {
		t.Errorf("%+v", r)
	}
	mustNotWaitFor(t, w, w.Close)
}

// Nor does one that was stopped for so long that its pipe is full.
func TestAFullPipeKeepsNobody(t *testing.T) {
	w := startStoppedWatchdog(t)
	if err := w.pipe.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; {
		_, err = w.pipe.WriteString(lineBeat + "\n")
	}
	mustNotWaitFor(t, w, func() {
		w.beat()
		w.Close()
	})
}

// A command whose end somebody else has waited for has not succeeded as far as is known.
func TestAnEndThatNobodyKnows(t *testing.T) {
	changes := make(chan unix.WaitStatus)
	close(changes)
	j := newJob(Command{}, fakeHold{nil, func() error { return nil }}, nil)
	j.group, j.changes = 1<<30, changes
	j.loop()
	if j.result.Status != statusUnknown {
		t.Errorf("%+v", j.result)
	}
}

// A command that wants the terminal, which another has, and where no shell would let this process go on, is not let go on at once: it would be stopped
// again at once, without end.
func TestACommandThatWantsTheTerminalIsNotHurried(t *testing.T) {
	for _, by := range []syscall.Signal{syscall.SIGTTIN, syscall.SIGTTOU} {
		var sent []syscall.Signal
		var told []string
		j := job{
			Command: Command{Tell: func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }},
			send:    func(_ int, s syscall.Signal) error { sent = append(sent, s); return nil }, group: 4711, hold: fakeHold{nil, func() error { return nil }},
		}
		j.stopped(by)
		if len(sent) != 0 || j.again == nil {
			t.Errorf("%v: sent %v at once", by, sent)
		}
		j.askTerminal()
		j.stopped(by)
		if !slices.Equal(sent, []syscall.Signal{syscall.SIGCONT}) || len(told) != 1 || !strings.Contains(told[0], "until it has the terminal") {
			t.Errorf("%v: sent %v, told %q", by, sent, told)
		}
		j.leaderEnded()
		if j.again != nil {
			t.Errorf("%v: the rest of the group gets the terminal", by)
		}
	}
}
