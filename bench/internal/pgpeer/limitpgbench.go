package pgpeer

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

	"github.com/lockkeeper/lockkeeper/bench/internal/measure"
	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/throughput"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// LimitPgbench is PostgreSQL's own load generator, written in C: one connection per goroutine up to 50, a statement to
// take a random lock and one to release it.
type LimitPgbench struct{}

const pgbenchScript = `\set id random(1, %d)
SELECT pg_try_advisory_lock(:id);
SELECT pg_advisory_unlock(:id);
`

// Name is the system's in reports.
func (LimitPgbench) Name() string { return "limit-pgbench" }

// Open is for scenarios that take locks one by one, which this is not made for.
func (LimitPgbench) Open(context.Context, peer.Env) (peer.Client, error) {
	return nil, errors.Join(scenario.ErrNotApplicable, errLimitOfLoops)
}

// Limit runs pgbench, for whole seconds since it takes no other.
func (LimitPgbench) Limit(ctx context.Context, s scenario.Setup, l throughput.Load) (scenario.Result, error) {
	if !l.Distinct() {
		return scenario.Result{}, fmt.Errorf("%w: it has distinct keys only", scenario.ErrNotApplicable)
	}
	program, err := findPgbench(ctx)
	if err != nil {
		return scenario.Result{}, err
	}
	script, err := writeScript(l)
	if err != nil {
		return scenario.Result{}, err
	}
	defer os.Remove(script)
	clients := min(l.Goroutines, poolSize)
	seconds := max(1, int(s.Duration.Round(time.Second)/time.Second))
	command := exec.CommandContext(ctx, program, "-n", "-M", "prepared", "-f", script, "-c", strconv.Itoa(clients),
		"-j", strconv.Itoa(min(2, clients)), "-T", strconv.Itoa(seconds), s.Env.PostgresDSN)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	command.WaitDelay = time.Second
	before, err := s.Meter.Read()
	if err != nil {
		return scenario.Result{}, err
	}
	if err := command.Run(); err != nil {
		return scenario.Result{}, fmt.Errorf("pgbench: %w: %s", err, out.Bytes())
	}
	used, err := s.Meter.Since(before)
	if err != nil {
		return scenario.Result{}, err
	}
	return readPgbench(out.String(), used, clients)
}

var (
	pgbenchRate  = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)
	pgbenchCount = regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`)
)

// readPgbench reads what pgbench prints. It knows no percentiles without a log of each transaction.
func readPgbench(out string, used measure.Reading, clients int) (scenario.Result, error) {
	rate, count := pgbenchRate.FindStringSubmatch(out), pgbenchCount.FindStringSubmatch(out)
	if count != nil && count[1] == "0" {
		return scenario.Result{}, errors.New("pgbench finished no pair in its time")
	}
	if rate == nil || count == nil {
		return scenario.Result{}, fmt.Errorf("pgbench said something unknown: %s", out)
	}
	perSecond, err := strconv.ParseFloat(rate[1], 64)
	if err != nil {
		return scenario.Result{}, fmt.Errorf("pgbench's rate: %w", err)
	}
	pairs, err := strconv.ParseFloat(count[1], 64)
	if err != nil {
		return scenario.Result{}, fmt.Errorf("pgbench's count: %w", err)
	}
	result := scenario.Result{PairsPerSecond: perSecond, Connections: clients}
	result.CPU(used, pairs)
	return result, nil
}

// findPgbench looks beside the server's programs, and then in PATH: some distributions of the server lack it.
func findPgbench(ctx context.Context) (string, error) {
	if folder, err := pgserver.FindBinaries(); err == nil {
		if path := filepath.Join(folder, "pgbench"); exec.CommandContext(ctx, path, "--version").Run() == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("pgbench")
	if err != nil {
		return "", fmt.Errorf("this PostgreSQL came without pgbench: %w", err)
	}
	return path, nil
}

func writeScript(l throughput.Load) (string, error) {
	file, err := os.CreateTemp("", "lockkeeper-bench-*.sql")
	if err != nil {
		return "", err
	}
	// Random ids meet now and then; with few keys too often, so that there are more of them than goroutines.
	_, err = fmt.Fprintf(file, pgbenchScript, max(l.Keys, 1_000_000))
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}
