package systems

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

var (
	// errNoPgbench is returned when this machine has no pgbench: some distributions of the server lack it.
	errNoPgbench = errors.New("this PostgreSQL came without pgbench")
	// errNoneFinished is returned when the machine had no time for a single transaction.
	errNoneFinished = errors.New("pgbench finished no transaction in its time")
)

// findPgbench returns the path of the pgbench that lies beside the server's programs, else of the one in PATH.
func findPgbench(ctx context.Context) (string, error) {
	if folder, err := pgserver.FindBinaries(); err == nil {
		if path := filepath.Join(folder, "pgbench"); exec.CommandContext(ctx, path, "--version").Run() == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("pgbench")
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoPgbench, err)
	}
	return path, nil
}

// runPgbench runs a script as transactions, with prepared statements, and waits until pgbench has ended. It returns the rate and
// the number of transactions. The duration is rounded to whole seconds, at least one: pgbench takes no other.
func runPgbench(ctx context.Context, program, dsn, script string, clients int, d time.Duration) (perSecond, count float64, err error) {
	const threads = 2
	seconds := max(1, int(d.Round(time.Second)/time.Second))
	command := exec.CommandContext(ctx, program, "-n", "-M", "prepared", "-f", "-", "-c", strconv.Itoa(clients),
		"-j", strconv.Itoa(min(threads, clients)), "-T", strconv.Itoa(seconds), dsn)
	command.Stdin = strings.NewReader(script)
	command.WaitDelay = time.Second
	out, err := command.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return readPgbench(string(out))
}

// resultLines have no rate where no transaction was finished.
var resultLines = regexp.MustCompile(`(?ms)^number of transactions actually processed: ([0-9]+)(?:.*^tps = ([0-9.]+))?`)

// readPgbench reads what pgbench prints. It knows no percentiles without a log of each transaction.
func readPgbench(out string) (perSecond, count float64, err error) {
	if found := resultLines.FindStringSubmatch(out); found != nil {
		if found[1] == "0" {
			return 0, 0, errNoneFinished
		}
		count, countErr := strconv.ParseFloat(found[1], 64)
		perSecond, rateErr := strconv.ParseFloat(found[2], 64)
		if countErr == nil && rateErr == nil {
			return perSecond, count, nil
		}
	}
	return 0, 0, fmt.Errorf("pgbench said something unknown: %s", out)
}

// longest is the time after which a machine is too busy to be measured.
const longest = 30 * time.Second

// switchCost measures the cost of a switch between processes, for a second each with one client and with many. The error wraps
// errNoPgbench where there is none.
func switchCost(ctx context.Context, dsn string) (c harness.SwitchCost, err error) {
	program, err := findPgbench(ctx)
	if err != nil {
		return c, err
	}
	const script = "SELECT 1;\n"
	if c.One, _, err = runPgbench(ctx, program, dsn, script, 1, time.Second); err != nil {
		return c, err
	}
	c.Many, _, err = runPgbench(ctx, program, dsn, script, harness.SwitchClients, time.Second)
	for d := time.Second; errors.Is(err, errNoneFinished) && d < longest; d *= 2 { // a busy machine has yet to connect so many
		c.Many, _, err = runPgbench(ctx, program, dsn, script, harness.SwitchClients, d)
	}
	return c, err
}
