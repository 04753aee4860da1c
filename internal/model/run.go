package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed lockkeeper.pml
var source []byte

// errMissing says what a machine lacks.
var errMissing = errors.New("the model is checked by spin and gcc, and this machine lacks one of them: " +
	"apt-get install spin gcc libc6-dev, or brew install spin gcc")

// available says whether the model can be checked here.
func available() error {
	for _, program := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w (%w)", errMissing, err)
		}
	}
	return nil
}

// result is what came of a check.
type result struct {
	found  string // the assertion that does not hold, or served; empty if nothing was found
	states int
	spent  time.Duration // of a processor's time, without the compiler's
}

var (
	violation = regexp.MustCompile(`(?m)^pan:\d+: (assertion violated \(*\s*(\w+)|acceptance cycle|.*)`)
	stored    = regexp.MustCompile(`(?m)^\s*(\d+) states, stored`)
	complete  = regexp.MustCompile(`(?m)errors: \d+$`)
)

// run makes a program of the model with the check's macros, and has it look at all states. keep is a folder that is given the
// history of what was found.
func (c *check) run(ctx context.Context, keep string) (result, error) {
	if err := available(); err != nil {
		return result{}, err
	}
	dir, err := os.MkdirTemp("", "lockkeeper-model-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	const file = "lockkeeper.pml"
	if err := os.WriteFile(filepath.Join(dir, file), source, 0o600); err != nil {
		return result{}, err
	}
	macros := c.defines()
	if _, _, err := command(ctx, dir, "spin", slices.Concat(macros, []string{"-a", file})...); err != nil {
		return result{}, err
	}
	// The model has global state only, which partial order reduction does not reduce.
	compile := []string{"-O1", "-w", "-DNOREDUCE", "-DNOBOUNDCHECK", "-DVECTORSZ=512", "-DMEMLIM=4096", "-o", "pan", "pan.c"}
	search := []string{"-n", "-m1000000"}
	if c.live {
		compile = append(compile, "-DNFAIR=3")
		search = append(search, "-a", "-f")
	} else {
		compile = append(compile, "-DSAFETY")
	}
	if _, _, err := command(ctx, dir, "gcc", compile...); err != nil {
		return result{}, err
	}
	out, spent, err := command(ctx, dir, filepath.Join(dir, "pan"), search...)
	if err != nil {
		return result{}, err
	}
	r := result{spent: spent}
	if m := violation.FindStringSubmatch(out); m != nil {
		r.found = m[1]
		if m[2] != "" {
			r.found = m[2]
		}
		if keep != "" {
			return r, c.history(ctx, dir, file, keep)
		}
	}
	m := stored.FindStringSubmatch(out)
	if m == nil || !complete.MatchString(out) || strings.Contains(out, "max search depth too small") ||
		r.found == "" && strings.Contains(out, "Search not completed") {
		return result{}, fmt.Errorf("the search was not completed:\n%s", out)
	}
	r.states, err = strconv.Atoi(m[1])
	return r, err
}

// judge compares what came of a check with what has to.
func (c *check) judge(r result) error {
	switch {
	case c.finds == "" && r.found != "":
		return fmt.Errorf("the design is broken: %s", r.found)
	case c.finds != "" && !slices.Contains(strings.Split(c.finds, "|"), r.found):
		return fmt.Errorf("%q had to be found, and %q was", c.finds, r.found)
	}
	return nil
}

func (c *check) defines() []string {
	var flags []string
	for macro := range strings.FieldsSeq(c.macros) {
		flags = append(flags, "-D"+macro)
	}
	if c.live {
		flags = append(flags, "-DLIVE")
	}
	return flags
}

// history replays what was found, and writes down each step of it with the values that it changes.
func (c *check) history(ctx context.Context, dir, file, keep string) error {
	out, _, err := command(ctx, dir, "spin", slices.Concat(c.defines(), []string{"-t", "-p", "-g", "-k", file + ".trail", file})...)
	if err != nil {
		return err
	}
	name := strings.NewReplacer(" ", "-", "'", "", ",", "", ":", "").Replace(c.name) + ".txt"
	return os.WriteFile(filepath.Join(keep, name), []byte(out), 0o644) //nolint:gosec // for everybody to read
}

func command(ctx context.Context, dir, name string, args ...string) (string, time.Duration, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", 0, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out.String())
	}
	return out.String(), cmd.ProcessState.UserTime(), nil
}
