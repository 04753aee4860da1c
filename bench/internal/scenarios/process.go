package scenarios

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// process is another process of a scenario. It is told a word a line, and answers a line of JSON.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     io.Reader
	answers *json.Decoder
}

// answer has the fields that the word asks for.
type answer struct {
	Error     string  `json:"error,omitempty"`
	Pairs     float64 `json:"pairs,omitempty"`
	P50       float64 `json:"p50,omitempty"`
	P99       float64 `json:"p99,omitempty"`
	LongestMS float64 `json:"longest_ms,omitempty"`
	At        int64   `json:"at,omitempty"` // on the machine's monotonic clock, in nanoseconds
	Key       string  `json:"key,omitempty"`
}

func spawn(ctx context.Context, s harness.Setup, part string) (*process, error) {
	p := &process{cmd: s.Spawn(ctx, part)}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	p.answers = json.NewDecoder(p.out)
	return p, p.cmd.Start()
}

// tell has no error: if the process has ended, hear says why.
func (p *process) tell(word string) { _, _ = fmt.Fprintln(p.in, word) }

func (p *process) hear() (a answer, err error) {
	if err := p.answers.Decode(&a); err != nil {
		return a, fmt.Errorf("a process of the scenario ended: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// end lets the process go, which ends with its input.
func (p *process) end() error {
	err := p.in.Close()
	_, _ = io.Copy(io.Discard, p.out) // what it says after is not asked for, and must not keep it
	return errors.Join(err, p.cmd.Wait())
}

// parent is the process that has started this one, as its part sees it.
type parent struct {
	words *bufio.Scanner

	mu     sync.Mutex // guards out and broken
	out    *json.Encoder
	broken error
}

// say answers. Many goroutines may use it.
func (p *parent) say(a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.out.Encode(a); p.broken == nil {
		p.broken = err
	}
}

// serve is a process's side. It opens the system and lets obey answer words until the input ends. An error is said too.
func serve(ctx context.Context, s harness.Setup, goroutines int, in io.Reader, out io.Writer,
	obey func(client harness.Client, p *parent) error) error {
	p := &parent{words: bufio.NewScanner(in), out: json.NewEncoder(out)}
	err := s.With(ctx, goroutines, func(client harness.Client) error {
		return errors.Join(obey(client, p), p.words.Err())
	})
	if err != nil {
		p.say(failed(err))
	}
	return errors.Join(err, p.broken)
}

func failed(err error) answer { return answer{Error: err.Error()} }
