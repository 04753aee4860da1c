//go:build unix

package job

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollFirst and pollMost are how often a group without its leader is looked for.
	pollFirst, pollMost = 5 * time.Millisecond, 200 * time.Millisecond
	// askTerminalAgain is how long a command that wants the terminal stays stopped where it cannot have it, before it may try again.
	askTerminalAgain = 200 * time.Millisecond
	// tellAfter is when it is told that others of the group are waited for.
	tellAfter = 2 * time.Second
)

// ForwardedSignals go on to the group.
func ForwardedSignals() []os.Signal {
	all := []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGTSTP, syscall.SIGWINCH}
	var kept []os.Signal
	for _, s := range all {
		if !signal.Ignored(s) { // by nohup, say: then the command is to ignore it too
			kept = append(kept, s)
		}
	}
	return kept
}

// job is one run. All of it belongs to the goroutine of Run.
type job struct {
	Command
	hold     Hold
	group    int // its id, which is the leader's pid
	send     func(pid int, s syscall.Signal) error
	terminal *terminal
	watchdog *Watchdog
	// Why the process did not become the command, if it did not; nil without a watchdog.
	reason *os.File
	// Sent by the goroutine of watchLeader, closed by it after the last; received by Run. Each change is received before the next can happen.
	changes chan unix.WaitStatus
	result  Result
	kill    *time.Timer // after the grace; nil where the lock is not lost
	again   *time.Timer // the leader is stopped, since it wants the terminal, and tries again; nil where it did not
	// It was told that the terminal is not the command's.
	haveToldTerminal bool
	// The leader has ended, and others of the group are looked for.
	poll     *time.Timer
	pause    time.Duration
	ended    time.Time
	haveTold bool
	members  members
	// It was told that the group belongs to another user, and cannot be ended.
	haveToldForeign bool
}

// statusUnknown is that of a command which ended, and nobody knows how.
const statusUnknown = 125

func newJob(c Command, hold Hold, watchdog *Watchdog) *job {
	return &job{Command: c, send: syscall.Kill, hold: hold, watchdog: watchdog, result: Result{Status: statusUnknown}}
}

// Run runs the command to its end and to that of its process group, or ends both when the hold ends. Standard input, output and
// error are this process's own. The error says that the command could not be started.
//
// A process that leaves the group, as a daemon or an interactive shell's job does, is not followed.
func Run(c Command, hold Hold, watchdog *Watchdog) (Result, error) {
	j := newJob(c, hold, watchdog)
	j.terminal, j.changes = openTerminal(), make(chan unix.WaitStatus)
	defer j.terminal.close()
	runtime.LockOSThread() // see endWithParent
	defer runtime.UnlockOSThread()
	if err := j.start(); err != nil {
		return Result{}, err
	}
	writeFromBackground()
	defer signal.Reset(syscall.SIGTTOU)
	j.startWatchingLeader()
	j.loop()
	j.terminal.takeBack(j.group)
	if err := whyNotBegun(j.reason); err != nil {
		return Result{}, err
	}
	return j.result, nil
}

func (j *job) start() error {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	endWithParent(attributes)
	if j.terminal.interactive() {
		attributes.Foreground, attributes.Ctty = true, j.terminal.fd()
	}
	process, reason, err := j.watchdog.start(j.Command, &os.ProcAttr{
		Env: j.Env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: attributes,
	})
	if err != nil {
		return err
	}
	j.group, j.reason = process.Pid, reason
	if err := process.Release(); err != nil { // it is waited for by wait4, which tells of stops too
		j.Tell("%v", err)
	}
	return nil
}

// startWatchingLeader starts the goroutine that waits for the leader. Joined by loop, through changes: it receives them all.
func (j *job) startWatchingLeader() { go watchLeader(j.group, j.changes) }

func watchLeader(pid int, changes chan<- unix.WaitStatus) {
	defer close(changes)
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil: // somebody else's wait: it has ended, and nobody knows how
			return
		}
		changes <- status
		if !status.Stopped() {
			return
		}
	}
}

func (j *job) loop() {
	lost := j.hold.Done()
	beats := time.NewTicker(beatInterval)
	defer beats.Stop()
	for {
		select {
		case <-beats.C:
			j.watchdog.beat()
		case s := <-j.Signals:
			j.forward(s)
		case status, ok := <-j.changes:
			switch {
			case ok && status.Stopped():
				j.stopped(status.StopSignal())
			case ok:
				j.result.Status = statusOf(status)
				if s := status.Signal(); status.Signaled() && (s == syscall.SIGINT || s == syscall.SIGQUIT) {
					j.result.EndedBy = s
				}
			default:
				j.changes = nil
				j.leaderEnded()
			}
		case <-lost:
			lost = nil
			j.lose()
		case <-timeOf(j.kill):
			_ = j.signal(syscall.SIGKILL)
		case <-timeOf(j.again):
			j.again = nil
			j.askTerminal()
		case <-timeOf(j.poll):
			if j.gone() {
				return
			}
		}
	}
}

// timeOf is nil, on which nothing is ever received, where there is no timer.
func timeOf(t *time.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C
}

func statusOf(s unix.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// signal sends a signal to the group. Where there is no group any more, nothing is wrong; where it may not be sent, to what sudo has started
// for example, it is told once the lock is lost.
func (j *job) signal(s syscall.Signal) error {
	err := j.send(-j.group, s)
	if errors.Is(err, syscall.EPERM) && j.result.Lost && !j.haveToldForeign {
		j.haveToldForeign = true
		j.Tell("the command cannot be ended, and goes on without the lock: process group %d: %v", j.group, err)
	}
	return err
}

func (j *job) forward(s os.Signal) {
	number, ok := s.(syscall.Signal)
	if !ok {
		return
	}
	if Ends(number) {
		j.result.EndedBy = number
	}
	if err := j.signal(number); errors.Is(err, syscall.EPERM) && !j.result.Lost {
		j.Tell("%v cannot be passed on to the command: process group %d: %v", number, j.group, err)
	}
	if number == syscall.SIGTERM || number == syscall.SIGHUP {
		_ = j.signal(syscall.SIGCONT) // what is stopped could not end
	}
	if number == syscall.SIGTSTP && j.changes == nil && j.terminal.jobControl() { // no leader is there whose stop would be told
		j.pauseWithGroup(false)
	}
}

// lose ends the group, since the lock is not held any more.
func (j *job) lose() {
	if j.result.Lost {
		return
	}
	j.result.Lost = true
	why := j.hold.Err()
	if j.Grace <= 0 {
		j.Tell("the lock is lost, the command is killed: %v", why)
		_ = j.signal(syscall.SIGKILL)
		return
	}
	j.Tell("the lock is lost, the command is ended (TERM now, KILL in %v): %v", j.Grace, why)
	_ = j.signal(syscall.SIGTERM)
	_ = j.signal(syscall.SIGCONT) // one that is stopped could not end
	j.kill = time.NewTimer(j.Grace)
}

// leaderEnded begins to wait for the rest of the group.
func (j *job) leaderEnded() {
	j.terminal.takeBack(j.group)
	j.again = nil // the rest does not get the terminal
	j.ended, j.pause = time.Now(), pollFirst
	j.poll = time.NewTimer(0)
}

// gone reports whether nobody of the group is left. Those that were reparented to this process, as the first of a container, are
// waited for: as zombies they would stay in the group. Zombies of a parent who does not wait are nobody.
func (j *job) gone() bool {
	for {
		pid, err := unix.Wait4(-j.group, nil, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err := syscall.Kill(-j.group, 0); err != nil && !errors.Is(err, syscall.EPERM) || j.members.allEnded(j.group) {
		j.hasEnded()
		return true
	}
	if !j.haveTold && time.Since(j.ended) > tellAfter {
		j.haveTold = true
		j.Tell("the command has ended with status %d; the lock is held until the rest of its process group %d has ended too",
			j.result.Status, j.group)
	}
	j.pause = min(2*j.pause, pollMost)
	j.poll.Reset(j.pause)
	return false
}

// hasEnded asks for the last time whether the lock was held until now.
func (j *job) hasEnded() {
	j.watchdog.release()
	if why := j.hold.Err(); why != nil && !j.result.Lost {
		j.result.Lost = true
		j.Tell("the lock was lost at the end of the command: %v", why)
	}
}

// stopped is called when the leader has stopped. Where it wants the terminal, and this process has it, it gets it. Otherwise the
// user wants his shell back: this process stops as well, and when it goes on, so does the command, if the lock is still held.
func (j *job) stopped(by syscall.Signal) {
	wantsTerminal := by == syscall.SIGTTIN || by == syscall.SIGTTOU
	switch {
	case wantsTerminal && j.terminal.handOver(j.group):
		_ = j.signal(syscall.SIGCONT)
		return
	case j.terminal.jobControl():
	case wantsTerminal: // at once it would be stopped again, and again
		j.again = time.NewTimer(askTerminalAgain)
		if !j.haveToldTerminal {
			j.haveToldTerminal = true
			j.Tell("the command is stopped (%v) until it has the terminal, which is another's", by)
		}
		return
	case by != syscall.SIGSTOP: // nobody is there to go on by hand
		_ = j.signal(syscall.SIGCONT)
		return
	default: // who has sent a STOP can send a CONT
		return
	}
	j.pauseWithGroup(j.terminal.takeBack(j.group))
}

// askTerminal lets a command go on that was stopped since it wanted the terminal: with it, where this process has it by now, as a shell's
// fg gives it, and else to ask again.
func (j *job) askTerminal() {
	j.terminal.handOver(j.group)
	_ = j.signal(syscall.SIGCONT)
}

// pauseWithGroup stops the group and this process, and when this process goes on, so does the group. foreground: the terminal is the
// group's then. Of the group others than the leader may run still: they ignore Ctrl-Z, or nobody has stopped them, or the leader has ended,
// after which the system does not obey a TSTP (an orphaned process group). So all get STOP.
func (j *job) pauseWithGroup(foreground bool) {
	_ = j.signal(syscall.SIGSTOP)
	j.watchdog.pause()
	suspend()
	j.Settle()
	j.watchdog.beat()
	if j.hold.Err() != nil {
		j.lose()
	} else if foreground {
		j.terminal.handOver(j.group)
	}
	_ = j.signal(syscall.SIGCONT) // also where it has got TERM before, and is in its grace
}

// suspend stops this process's group, as Ctrl-Z would, and returns when it goes on.
func suspend() {
	continued := make(chan os.Signal, 1) // one that comes before anybody receives is kept
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if err := syscall.Kill(0, syscall.SIGSTOP); err != nil {
		return
	}
	<-continued
}

// Describe says why a command could not be started.
func Describe(path string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return fmt.Errorf("%s: %w", path, errno)
	}
	return err
}

// StopBy stops this process if the signal is that of Ctrl-Z.
func StopBy(s os.Signal) {
	if s == syscall.SIGTSTP {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
}
