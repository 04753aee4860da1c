package stage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/player"
)

// Worker is one incarnation of a worker process.
type Worker struct {
	Process    int
	Generation int
	cmd        *exec.Cmd
	stdin      io.WriteCloser
	orders     *json.Encoder
	stderr     *lastWords
	Events     chan player.Event // closed at the process's end
	exited     chan struct{}     // closed after the process was waited for and its last record taken
	err        error             // readable after exited
	expected   atomic.Bool       // its end is
}

// pipeSize is how much of the history the kernel keeps for a parent that is busy.
const pipeSize = 1 << 20

// fSetPipeSize is fcntl's F_SETPIPE_SZ.
const fSetPipeSize = 1031

// start starts a worker process. take gets its records, on a goroutine of its own.
func start(cmd *exec.Cmd, job *player.Job, take func([]event.Record)) (*Worker, error) {
	w := &Worker{Process: job.Process, Generation: job.Generation, cmd: cmd, stderr: &lastWords{},
		Events: make(chan player.Event, 64), exited: make(chan struct{})}
	records, toParent, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer toParent.Close()
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, toParent.Fd(), fSetPipeSize, pipeSize) // the usual size will do as well
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{toParent}
	cmd.Stderr = w.stderr
	cmd.WaitDelay = 2 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		records.Close()
		return nil, fmt.Errorf("starting worker process %d: %w", job.Process, err)
	}
	w.stdin, w.orders = stdin, json.NewEncoder(stdin)
	go w.read(stdout, records, take)
	if err := w.orders.Encode(job); err != nil {
		_ = cmd.Process.Kill()
		return nil, err
	}
	return w, nil
}

// read ends after the process has.
func (w *Worker) read(stdout io.Reader, records *os.File, take func([]event.Record)) {
	defer close(w.exited)
	var history sync.WaitGroup
	var broken error
	history.Go(func() {
		defer records.Close()
		broken = event.Read(records, take)
	})
	decoder := json.NewDecoder(stdout)
	for {
		var e player.Event
		if err := decoder.Decode(&e); err != nil {
			break
		}
		w.Events <- e
	}
	history.Wait()
	w.err = errors.Join(w.cmd.Wait(), broken)
	close(w.Events)
}

// Order is best effort: a process that cannot be told anything has ended, and its reader says so.
func (w *Worker) Order(do string, n int) { _ = w.orders.Encode(player.Order{Do: do, N: n}) }

// Signal sends a signal.
func (w *Worker) Signal(s syscall.Signal) error { return w.cmd.Process.Signal(s) }

// Kill kills the process, and returns when the last of its records has been taken.
func (w *Worker) Kill() error {
	w.expected.Store(true)
	if err := w.cmd.Process.Kill(); err != nil {
		return err
	}
	<-w.exited
	return nil
}

// Expected reports whether the process's end was asked for.
func (w *Worker) Expected() bool { return w.expected.Load() }

// PID is the process's number.
func (w *Worker) PID() int { return w.cmd.Process.Pid }

// Failure says how the process ended, with what it last said.
func (w *Worker) Failure() error {
	<-w.exited
	return fmt.Errorf("worker process %d ended early (%w); it said:\n%s", w.Process, w.err, w.stderr)
}

// End ends the process, if need be by force, and returns when the last of its records has been taken. Somebody must be
// taking its events. It does no harm twice.
func (w *Worker) End() {
	w.expected.Store(true)
	w.Order(player.Exit, 0)
	_ = w.stdin.Close()
	late := time.NewTimer(exitBound)
	defer late.Stop()
	for {
		select {
		case <-w.exited:
			return
		case <-late.C:
			_ = w.Signal(syscall.SIGCONT)
			_ = w.cmd.Process.Kill()
		}
	}
}

// lastWords keeps the beginning of what is written to it, where the cause of a crash stands, and counts the rest.
type lastWords struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const wordsKept = 32 << 10

func (l *lastWords) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b[:min(len(b), max(0, wordsKept-l.text.Len()))])
	return len(b), nil
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
