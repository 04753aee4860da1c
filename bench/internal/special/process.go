package special

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// process is another process of a scenario, which is told what to do and answers, a line of JSON each.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// order is what a process is told.
type order struct {
	Do  string `json:"do"`
	Key string `json:"key,omitempty"`
}

// report is what it answers; only the fields that the order asks for are set.
type report struct {
	Error     string  `json:"error,omitempty"`
	Pairs     float64 `json:"pairs,omitempty"`
	P50       float64 `json:"p50,omitempty"`
	P99       float64 `json:"p99,omitempty"`
	LongestMS float64 `json:"longest_ms,omitempty"`
	At        int64   `json:"at,omitempty"` // on the machine's monotonic clock, in nanoseconds
	Key       string  `json:"key,omitempty"`
}

func spawn(ctx context.Context, s scenario.Setup, part string) (*process, error) {
	p := &process{cmd: s.Spawn(ctx, part)}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	return p, p.cmd.Start()
}

func (p *process) tell(o order) error { return json.NewEncoder(p.in).Encode(o) }

func (p *process) hear() (report, error) {
	var r report
	if !p.out.Scan() {
		return r, fmt.Errorf("a process of the scenario ended: %w", errors.Join(p.out.Err(), io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("a process of the scenario said %q: %w", p.out.Text(), err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

func (p *process) ask(o order) (report, error) {
	if err := p.tell(o); err != nil {
		return report{}, err
	}
	return p.hear()
}

// end lets the process go, which ends with its input.
func (p *process) end() error {
	err := p.in.Close()
	for p.out.Scan() { // what it says after is not asked for, and must not keep it
	}
	return errors.Join(err, p.cmd.Wait())
}

// obey is a process's side: each order is carried out, and answered where do returns a report.
func obey(in io.Reader, out io.Writer, do func(order) *report) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if r := do(o); r != nil {
			if err := encoder.Encode(r); err != nil {
				return err
			}
		}
	}
}

func failed(err error) *report { return &report{Error: err.Error()} }
