//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// screen is a terminal with a program at its other end.
type screen struct {
	t    *testing.T
	file *os.File
	cmd  *exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer
	seen int // how much of the text was matched
	done chan struct{}
}

// onTerminal starts a program as a terminal does: it leads a session, and the terminal is its input, output and error.
func onTerminal(t *testing.T, d onServer, folder, name string, args ...string) *screen {
	t.Helper()
	s := &screen{t: t, cmd: exec.Command(name, args...), done: make(chan struct{})}
	s.cmd.Dir = folder
	s.cmd.Env = append(environ(d.DSNOf(d.name)), "PS1=ready> ", "TERM=dumb", "LK="+program(t))
	file, err := pty.Start(s.cmd)
	if err != nil {
		t.Fatal(err)
	}
	s.file = file
	go func() {
		defer close(s.done)
		buffer := make([]byte, 4096)
		for {
			n, err := file.Read(buffer)
			s.mu.Lock()
			s.text.Write(buffer[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		_ = file.Close()
		select {
		case <-s.done:
		case <-time.After(bound / 9): // somebody of a test that failed has the terminal still
		}
	})
	return s
}

// shell is a shell with job control.
func shell(t *testing.T, d onServer) *screen {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := onTerminal(t, d, t.TempDir(), bash, "--norc", "--noprofile", "-i")
	s.expect(`ready> `)
	return s
}

func (s *screen) write(text string) {
	s.t.Helper()
	if _, err := s.file.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until what has come since the last call matches.
func (s *screen) expect(pattern string) {
	s.t.Helper()
	for began := time.Now(); ; {
		s.mu.Lock()
		text := s.text.String()
		s.mu.Unlock()
		if at := regexp.MustCompile(pattern).FindStringIndex(text[s.seen:]); at != nil {
			s.seen += at[1]
			return
		}
		if time.Since(began) > bound/3 {
			s.t.Fatalf("nothing matches %q in\n%s", pattern, text[s.seen:])
		}
		<-time.After(5 * time.Millisecond)
	}
}

// A command that reads from the terminal is in the foreground, and the shell is afterwards.
func TestTerminalInput(t *testing.T) {
	t.Parallel()
	s := shell(t, newDatabase(t))
	s.write("$LK run deploy -- sh -c 'read line; echo got $line; stty -a >/dev/null && echo fine'\nhello\n")
	s.expect(`got hello\r\nfine\r\nready> `)
	s.write("echo back $?\n")
	s.expect(`back 0\r\nready> `)
}

// At a terminal the command is in the foreground from the beginning, since some look.
func TestTerminalForeground(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("it looks into /proc")
	}
	s := shell(t, newDatabase(t))
	s.write("$LK run deploy -- sh -c 'set -- $(cat /proc/self/stat); [ $5 = $8 ] && echo fore''ground'\n")
	s.expect(`foreground\r\nready> `)
}

// Ctrl-C is the command's, and its status the shell's.
func TestTerminalCtrlC(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := shell(t, d)
	s.write("$LK run deploy -- sh -c 'echo be''gun; exec sleep 1000'\n")
	s.expect(`begun\r\n`)
	s.write("\x03")
	s.expect(`ready> `)
	s.write("echo status $?\n")
	s.expect(`status 130\r\n`)
	s.write("$LK run deploy -- sh -c 'trap \"echo caught; exit 3\" INT; echo be''gun; while :; do sleep 0.05; done'\n")
	s.expect(`begun\r\n`)
	s.write("\x03")
	s.expect(`caught\r\nready> `)
	d.must(t, d.until("deploy", true, 0))
}

// Ctrl-C of the command of a period is meant for lockkeeper too. One that stays until the period is over says so.
func TestTerminalOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := shell(t, d)
	s.write("$LK run --once 1000h report -- sh -c 'echo be''gun; exec sleep 1000'\n")
	s.expect(`begun\r\n`)
	s.write("\x03")
	s.expect(`interrupt: the period's lock is released before the period is over`)
	s.expect(`ready> `)
	s.write("echo status $?\n")
	s.expect(`status 130\r\n`)
	d.must(t, d.untilFree())
	s.write("$LK run --once 1000h report -- sh -c 'exit 8'\n")
	s.expect(`lockkeeper: the command has ended; the period's lock is kept until 2`)
	s.write("\x03")
	s.expect(`interrupt: the period's lock is released before the period is over`)
	s.expect(`ready> `)
	s.write("echo status $?\n")
	s.expect(`status 8\r\n`)
}

// Ctrl-C while it waits.
func TestTerminalCtrlCInTheWait(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	holder := start(t, d, "run", "deploy", "--", "sh", "-c", stays)
	holder.pid("child")
	s := shell(t, d)
	s.write("$LK run deploy -- echo ran\n")
	d.must(t, d.until("deploy", false, 1))
	s.expect(`lockkeeper: waiting for deploy; held by server pid [0-9]+, application "lockkeeper run deploy", client`)
	s.write("\x03")
	s.expect(`not acquired: ended by signal: interrupt\r\nready> `)
	s.write("echo status $?\n")
	s.expect(`status 130\r\n`)
	holder.signal(syscall.SIGKILL)
	holder.wait(-1)
}

// Ctrl-Z stops both, fg lets both go on, and the terminal is the command's again.
func TestTerminalCtrlZ(t *testing.T) {
	t.Parallel()
	s := shell(t, newDatabase(t))
	s.write("$LK run deploy -- sh -c 'echo be''gun; read line; echo got $line'\n")
	s.expect(`begun\r\n`)
	s.write("\x1a")
	s.expect(`Stopped`)
	s.expect(`ready> `)
	s.write("fg\n")
	s.expect(`run deploy`)
	s.write("hello\n")
	s.expect(`got hello\r\nready> `)
}

// A lock that was lost while both were stopped: the command does nothing more.
func TestTerminalLossWhileStopped(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := shell(t, d)
	// The command waits in the shell itself: one that is just starting another may not see Ctrl-Z (vfork), here as without lockkeeper.
	s.write("$LK run deploy -- sh -c 'trap \"echo went o\"\"n\" CONT; sleep 1000 & echo be''gun; wait; wait'\n")
	s.expect(`begun\r\n`)
	s.write("\x1a")
	s.expect(`Stopped`)
	s.expect(`ready> `)
	d.must(t, d.terminate("deploy"))
	d.must(t, d.until("deploy", true, 0))
	s.write("fg\n")
	s.expect(`the lock is lost`)
	s.expect(`ready> `)
	s.write("echo status $?\n")
	s.expect(`status 123\r\n`)
	if s.mu.Lock(); strings.Contains(s.text.String(), "went on") {
		t.Error(s.text.String())
	}
	s.mu.Unlock()
}

// In a pipe the command is in the background until it reads from the terminal: the foreground may be a pager's.
func TestTerminalPipe(t *testing.T) {
	t.Parallel()
	s := shell(t, newDatabase(t))
	s.write("$LK run deploy -- sh -c 'echo one; read line </dev/tty; echo got $line' | sed 's/^/> /'\nhello\n")
	s.expect(`> one\r\n> got hello\r\nready> `)
	s.write("$LK run deploy -- sh -c 'echo one' | sh -c 'read line </dev/tty; cat; echo got $line'\nhello\n")
	s.expect(`one\r\ngot hello\r\nready> `)
	s.write("$LK run deploy -- sh -c 'echo be''gun >&2; exec sleep 1000' | cat\n")
	s.expect(`begun\r\n`)
	s.write("\x1a")
	s.expect(`Stopped`)
	s.expect(`ready> `)
	s.write("fg\n")
	s.expect(`run deploy`)
	s.untilJob()
	s.write("\x03")
	s.expect(`ready> `)
}

// untilJob waits until the shell has given the terminal to a job, which it does after it has shown its name.
func (s *screen) untilJob() {
	s.t.Helper()
	shell := strconv.Itoa(s.cmd.Process.Pid)
	for began := time.Now(); ; <-time.After(5 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + shell + "/stat")
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); err != nil || len(fields) > 5 && fields[5] != shell { // who has the terminal; systems without /proc tell nothing
			return
		}
		if time.Since(began) > bound/3 {
			s.t.Fatal("the job does not get the terminal")
		}
	}
}

// In the background a command that reads is stopped, as any is.
func TestTerminalBackground(t *testing.T) {
	t.Parallel()
	s := shell(t, newDatabase(t))
	s.write("$LK run deploy -- sh -c 'read line; echo got $line' &\n")
	s.expect(`ready> `)
	for s.t.Context().Err() == nil { // the shell tells of it at its next prompt
		s.write("\n")
		s.expect(`ready> `)
		if s.mu.Lock(); strings.Contains(s.text.String(), "Stopped") {
			s.mu.Unlock()
			break
		}
		s.mu.Unlock()
		<-time.After(20 * time.Millisecond)
	}
	s.write("fg\n")
	s.expect(`run deploy`)
	s.write("hello\n")
	s.expect(`got hello\r\nready> `)
}

// So is one below a script in the background. The script is not: it waits, and the command has the terminal when the script is in the foreground.
func TestTerminalBackgroundScript(t *testing.T) {
	t.Parallel()
	s := shell(t, newDatabase(t))
	s.write("sh -c '$LK run deploy -- sh -c \"read line; echo got \\$line\"; echo en''ded' &\n")
	s.expect(`lockkeeper: the command is stopped \(stopped \(tty input\)\) until it has the terminal, which is another's`)
	s.write("fg\n")
	s.expect(`run deploy`)
	s.write("hello\n")
	s.expect(`got hello\r\nended\r\nready> `)
	if s.mu.Lock(); strings.Count(s.text.String(), "the command is stopped") != 1 {
		t.Error(s.text.String())
	}
	s.mu.Unlock()
}

// Where no shell would let it go on, as with "docker run -t", Ctrl-Z does not hang.
func TestTerminalWithoutAShell(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := onTerminal(t, d, t.TempDir(), program(t), "run", "deploy", "--", "sh", "-c", "echo begun; read line; echo got $line")
	s.expect(`begun\r\n`)
	s.write("\x1a")
	s.expect(`\^Z`)
	s.write("hello\n")
	s.expect(`got hello\r\n`)
	<-s.done
	d.must(t, d.until("deploy", true, 0))
}

// The question of terminate.
func TestTerminalTerminate(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	holder := start(t, d, "run", "deploy", "--", "sh", "-c", stays)
	holder.pid("child")
	s := shell(t, d)
	for answer, want := range map[string]string{"n\n": `nothing was ended\r\n`, "\n": `nothing was ended\r\n`, "\x03": `\^C`} {
		s.write("$LK terminate deploy\n")
		s.expect(`End the session of pid \d+, application "lockkeeper run deploy", client local, since .*, which holds 1 lock\? \[y/N\] `)
		s.write(answer)
		s.expect(want)
		s.expect(`ready> `)
	}
	s.write("$LK terminate deploy\n")
	s.expect(`\[y/N\] `)
	s.write("y\n")
	s.expect(`Ended: pid`)
	holder.wait(exitLost)
}
