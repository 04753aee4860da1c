package pgbench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// Load is what pgbench is to do.
type Load struct {
	// Script is in pgbench's language. A script that is run once is a transaction.
	Script  string
	Clients int
	// Duration is rounded to whole seconds, at least one: pgbench takes no other.
	Duration time.Duration
}

// Rate is what came of it.
type Rate struct {
	// PerSecond and Count are of transactions.
	PerSecond, Count float64
}

// ErrMissing is returned when this machine has no pgbench: some distributions of the server lack it.
var ErrMissing = errors.New("this PostgreSQL came without pgbench")

// errNoneFinished is returned when the machine had no time for a single transaction.
var errNoneFinished = errors.New("pgbench finished no transaction in its time")

// Find returns the path of the pgbench that lies beside the server's programs, else of the one in PATH.
func Find(ctx context.Context) (string, error) {
	if folder, err := pgserver.FindBinaries(); err == nil {
		if path := filepath.Join(folder, "pgbench"); exec.CommandContext(ctx, path, "--version").Run() == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("pgbench")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return path, nil
}

// Run runs a pgbench that Find has found, with prepared statements, and waits until it has ended.
func Run(ctx context.Context, program, dsn string, l Load) (Rate, error) {
	script, err := os.CreateTemp("", "lockkeeper-bench-*.sql")
	if err != nil {
		return Rate{}, err
	}
	defer os.Remove(script.Name())
	_, err = script.WriteString(l.Script)
	if err = errors.Join(err, script.Close()); err != nil {
		return Rate{}, err
	}
	const threads = 2
	seconds := max(1, int(l.Duration.Round(time.Second)/time.Second))
	command := exec.CommandContext(ctx, program, "-n", "-M", "prepared", "-f", script.Name(), "-c", strconv.Itoa(l.Clients),
		"-j", strconv.Itoa(min(threads, l.Clients)), "-T", strconv.Itoa(seconds), dsn)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		return Rate{}, fmt.Errorf("pgbench: %w: %s", err, out.Bytes())
	}
	return read(out.String())
}

var (
	rateLine  = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)
	countLine = regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`)
)

// read reads what pgbench prints. It knows no percentiles without a log of each transaction.
func read(out string) (Rate, error) {
	rate, count := rateLine.FindStringSubmatch(out), countLine.FindStringSubmatch(out)
	if count != nil && count[1] == "0" {
		return Rate{}, errNoneFinished
	}
	if rate == nil || count == nil {
		return Rate{}, fmt.Errorf("pgbench said something unknown: %s", out)
	}
	perSecond, err := strconv.ParseFloat(rate[1], 64)
	if err != nil {
		return Rate{}, fmt.Errorf("pgbench's rate: %w", err)
	}
	transactions, err := strconv.ParseFloat(count[1], 64)
	if err != nil {
		return Rate{}, fmt.Errorf("pgbench's count: %w", err)
	}
	return Rate{PerSecond: perSecond, Count: transactions}, nil
}
