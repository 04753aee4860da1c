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
	"time"
)

// Watchdog is a process that kills the group when this one is killed, or does not run: the server frees the lock then, so nobody may work
// under it. It reads a pipe, of which this process has the other end: the group's number, which the command's process writes before it becomes
// the command, a beat each second, and the end. A nil *Watchdog is none.
type Watchdog struct {
	pipe    *os.File
	process *os.Process
	// By these a process of this program becomes the command.
	program string
	become  []string
}

// What the pipe carries, beside the group's number.
const (
	lineBeat  = "beat"
	linePause = "pause"
	lineDone  = "done"
)

const (
	// beatInterval is how often a beat is sent.
	beatInterval = time.Second
	// silence is for how long none may come. One who is stopped asks the server nothing. A lock is trusted for 7 s after the last
	// answer, which is over by then; the server frees it 14 s after the last question, which may be 5 s old when the silence begins.
	silence = 7*time.Second + beatInterval
	// writePatience is how long a line may wait for room in the pipe, which one that was stopped for hours has none of.
	writePatience = 10 * time.Millisecond
)

// StartWatchdog starts it, by the arguments that make this program call [Watch]. Those of become make it call [Become] with what follows them.
func StartWatchdog(program string, watch, become []string) (*Watchdog, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	process, err := os.StartProcess(program, append([]string{os.Args[0]}, watch...), &os.ProcAttr{
		// A session of its own: no Ctrl-C and no hang-up of the terminal ends it. Standard error is for a panic.
		Files: []*os.File{theirs, nil, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true}, Dir: "/",
	})
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	return &Watchdog{ours, process, program, become}, nil
}

// beat tells that this process runs.
func (w *Watchdog) beat() { w.write(lineBeat) }

// pause tells that this process stops, and the group with it, until the next beat.
func (w *Watchdog) pause() { w.write(linePause) }

// release tells that nothing of the group is left: its number may soon be another's.
func (w *Watchdog) release() { w.write(lineDone) }

func (w *Watchdog) write(line string) {
	if w != nil {
		_ = w.pipe.SetWriteDeadline(time.Now().Add(writePatience))
		_, _ = fmt.Fprintln(w.pipe, line) // one that is killed does not guard
	}
}

// Close ends the watchdog and waits for it. It is for when nothing of the group is left.
func (w *Watchdog) Close() {
	if w == nil {
		return
	}
	w.release()
	_ = w.pipe.Close()
	_ = w.process.Kill() // it ends by itself, unless somebody has stopped it
	_, _ = w.process.Wait()
}

// Watch is what the watchdog's process does, with its pipe, until that ends or it has killed the group.
func Watch(pipe io.Reader) { watch(pipe, kill) }

func watch(pipe io.Reader, kill func(group int)) {
	lines := startReading(pipe)
	timer := time.NewTimer(silence)
	timer.Stop()
	defer timer.Stop()
	group := 0
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				if group != 0 {
					kill(group)
				}
				return
			}
			timer.Stop()
			switch line {
			case lineDone:
				group = 0
			case lineBeat:
			case linePause:
				continue
			default:
				group = groupOf(line)
			}
			if group != 0 {
				timer.Reset(silence)
			}
		case <-timer.C:
			kill(group)
			group = 0 // the number may soon be another's
		}
	}
}

func groupOf(line string) int {
	if n, err := strconv.Atoi(line); err == nil && n > 1 {
		return n
	}
	return 0
}

func kill(group int) { _ = syscall.Kill(-group, syscall.SIGKILL) }

// startReading starts the goroutine that reads the lines. Joined by watch, through the channel, which is closed at the pipe's end.
func startReading(pipe io.Reader) <-chan string {
	lines := make(chan string) // sent and closed by the goroutine, received by watch; each is acted on before the next is read
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
			lines <- strings.TrimSpace(scanner.Text())
		}
	}()
	return lines
}
