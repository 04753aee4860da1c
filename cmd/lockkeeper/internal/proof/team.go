package proof

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Worker is how a worker process is started: this program with arguments that make it call [Serve].
type Worker struct {
	Arguments   []string
	Environment []string
}

// Team is the worker processes. It is for one goroutine.
type Team struct {
	plan    Plan
	members []*member
}

type member struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *json.Decoder
}

// answer is what a worker says: first that it is connected, at the end what it has seen.
type answer struct {
	Tally Tally  `json:"tally"`
	Err   string `json:"err"`
}

// StartTeam starts the processes.
func StartTeam(w Worker, n int, plan Plan) (team *Team, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	team = &Team{plan: plan}
	for range n {
		// It ends when it hears no more of this process: no context is needed to end it.
		cmd := exec.CommandContext(context.Background(), program, w.Arguments...)
		cmd.Args[0] = os.Args[0]
		cmd.Env, cmd.Stderr = w.Environment, os.Stderr
		input, err := cmd.StdinPipe()
		if err == nil {
			var output io.Reader
			if output, err = cmd.StdoutPipe(); err == nil {
				if err = cmd.Start(); err == nil {
					team.members = append(team.members, &member{cmd, input, json.NewDecoder(output)})
					continue
				}
			}
		}
		team.end()
		return nil, fmt.Errorf("starting a worker process: %w", err)
	}
	return team, nil
}

// end ends the processes, and waits for them.
func (t *Team) end() {
	for _, m := range t.members {
		_ = m.input.Close()
	}
	for _, m := range t.members {
		_ = m.cmd.Wait()
	}
}

// Run lets them contend for the plan's duration, or until ctx ends, and returns what they have seen.
func (t *Team) Run(ctx context.Context) (*Result, error) {
	defer t.end()
	for _, m := range t.members {
		if err := json.NewEncoder(m.input).Encode(t.plan); err != nil {
			return nil, fmt.Errorf("a worker process has ended: %w", err)
		}
	}
	for _, m := range t.members {
		if _, err := m.hear(); err != nil { // that it is connected
			return nil, err
		}
	}
	for _, m := range t.members {
		if _, err := io.WriteString(m.input, "go\n"); err != nil {
			return nil, fmt.Errorf("a worker process has ended: %w", err)
		}
	}
	began, ends := time.Now(), t.listen()
	timer := time.NewTimer(t.plan.Duration)
	defer timer.Stop()
	var early []ending
	select {
	case <-timer.C:
	case <-ctx.Done():
	case e := <-ends: // nobody has stopped it
		early = append(early, e)
	}
	r := &Result{Took: time.Since(began)}
	for _, m := range t.members {
		_ = m.input.Close() // it stops
	}
	var failed error
	for i := range t.members {
		var e ending
		if i < len(early) {
			e = early[i]
		} else {
			e = <-ends
		}
		r.Add(e.tally)
		if failed == nil {
			failed = e.err
		}
	}
	if failed != nil {
		return nil, failed
	}
	return r, nil
}

// ending is the last that is heard of a worker.
type ending struct {
	tally Tally
	err   error
}

// listen starts a goroutine for each worker, which waits for its last answer. Joined by Run, which receives all of them.
func (t *Team) listen() <-chan ending {
	ends := make(chan ending, len(t.members)) // sent by the goroutines, received by Run, never closed; none waits for Run
	for _, m := range t.members {
		go func() {
			tally, err := m.hear()
			ends <- ending{tally, err}
		}()
	}
	return ends
}

func (m *member) hear() (Tally, error) {
	var a answer
	switch err := m.output.Decode(&a); {
	case err != nil:
		return a.Tally, fmt.Errorf("a worker process has ended: %w", err)
	case a.Err != "":
		return a.Tally, errors.New(a.Err)
	}
	return a.Tally, nil
}

// Serve is what a worker process does, with its orders from in and its answers to out.
func Serve(in io.Reader, out io.Writer, open func(Plan) (*manager.Manager, error)) error {
	orders, say := bufio.NewReader(in), json.NewEncoder(out)
	line, err := orders.ReadBytes('\n')
	var plan Plan
	if err == nil {
		err = json.Unmarshal(line, &plan)
	}
	if err != nil {
		return err
	}
	m, err := open(plan)
	if err != nil {
		return say.Encode(answer{Err: err.Error()})
	}
	if err := say.Encode(answer{}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := orders.ReadBytes('\n'); err == nil { // go
		go func() { // ends with the orders, which the parent or its end closes
			defer cancel()
			_, _ = io.Copy(io.Discard, orders)
		}()
		tally := Work(ctx, plan, m)
		closing, cancel := context.WithTimeout(context.Background(), closeBound)
		defer cancel()
		a := answer{Tally: tally}
		if err := m.Close(closing); err != nil {
			a.Err = err.Error()
		}
		return say.Encode(a)
	}
	closing, cancelClose := context.WithTimeout(context.Background(), closeBound)
	defer cancelClose()
	return m.Close(closing)
}

const closeBound = 30 * time.Second
