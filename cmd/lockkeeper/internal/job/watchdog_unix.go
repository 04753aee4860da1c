//go:build unix

package job

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Watchdog is a process that kills the group when this one is killed: the server frees the lock then, so nobody may work under it. It
// reads a pipe, of which this process has the other end: first the group's number, then the end. A nil *Watchdog is none.
type Watchdog struct {
	pipe    *os.File
	process *os.Process
}

// StartWatchdog starts it, by the arguments that make this program call [Watch].
func StartWatchdog(program string, args ...string) (*Watchdog, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	process, err := os.StartProcess(program, append([]string{os.Args[0]}, args...), &os.ProcAttr{
		// A session of its own: no Ctrl-C and no hang-up of the terminal ends it. Standard error is for a panic.
		Files: []*os.File{theirs, nil, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true}, Dir: "/",
	})
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	return &Watchdog{ours, process}, nil
}

// guard names the group to kill.
func (w *Watchdog) guard(group int) { w.write(strconv.Itoa(group)) }

// release tells that nothing of the group is left: its number may soon be another's.
func (w *Watchdog) release() { w.write("done") }

func (w *Watchdog) write(line string) {
	if w != nil {
		_, _ = fmt.Fprintln(w.pipe, line) // one that is killed does not guard
	}
}

// Close ends the watchdog and waits for it.
func (w *Watchdog) Close() {
	if w == nil {
		return
	}
	w.release()
	_ = w.pipe.Close()
	_, _ = w.process.Wait()
}

// Watch is what the watchdog's process does.
func Watch(pipe io.Reader) {
	group := 0
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		text := strings.TrimSpace(lines.Text())
		if text == "done" {
			group = 0
		} else if n, err := strconv.Atoi(text); err == nil && n > 1 {
			group = n
		}
	}
	if group != 0 {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
}
