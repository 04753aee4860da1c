package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Command is the program's hidden command that a measurement runs.
const Command = "measure"

// envJob carries a job to a child process. It is not an argument, which other users of a machine could read.
const envJob = "LOCKKEEPER_BENCH_JOB"

// job is all that a child process needs to know.
type job struct {
	Scenario, System string
	Setup            Setup
	// Part, where set, is what the process runs instead of the scenario.
	Part string
	// program is what the process runs; empty means this process's own program. Its own processes run the same program, so they
	// are not told of it.
	program string
}

// command makes the command of a child process.
func (j job) command(ctx context.Context) *exec.Cmd {
	text, err := json.Marshal(j)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	program := j.program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			program = os.Args[0]
		}
	}
	cmd := exec.CommandContext(ctx, program, Command)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, envJob+"=") }),
		envJob+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd
}

// Child is what a measurement's process runs. It ends when in does.
func Child(ctx context.Context, c Catalogue, in io.Reader, out io.Writer) error {
	text, ok := os.LookupEnv(envJob)
	if !ok {
		return errors.New("this command is for the program's own processes")
	}
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	sc, ok := c.scenario(j.Scenario)
	if !ok {
		return fmt.Errorf("unknown scenario %q", j.Scenario)
	}
	if j.Setup.System, ok = c.system(j.System); !ok {
		return fmt.Errorf("unknown system %q", j.System)
	}
	j.Setup.Spawn = func(ctx context.Context, part string) *exec.Cmd {
		j := j
		j.Part = part
		return j.command(ctx)
	}
	if j.Part != "" {
		return sc.Part(ctx, j.Setup, j.Part, in, out)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("the harness has gone"))
	}()
	return json.NewEncoder(out).Encode(measureOnce(ctx, sc, j.Setup))
}

// measureOnce makes every outcome a result.
func measureOnce(ctx context.Context, sc Scenario, setup Setup) Result {
	result, err := sc.Run(ctx, setup)
	switch {
	case errors.Is(err, ErrNotApplicable):
		result.NotApplicable = err.Error()
	case err != nil:
		result.Failed = oneLine(err.Error())
	}
	if result.RSSBytes == 0 {
		// A machine that has no such figure has none to show.
		result.RSSBytes, _ = peakRSS()
	}
	return result
}

// oneLine makes an error fit a table.
func oneLine(text string) string {
	const most = 300
	line := strings.Join(strings.Fields(text), " ")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "..."
	}
	return line
}
