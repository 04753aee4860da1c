package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/systems"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// The parts that this test binary plays where a test has started it as another process of a scenario.
var parts = map[string]harness.Scenario{
	"fleet": {Part: smallFleet.part},
	"wake":  {Part: wake{}.part},
}

var (
	smallFleet = fleet{processes: 2, goroutines: 3, window: time.Second}
	measured   = map[string]harness.System{}
)

const partVariable = "LOCKKEEPER_BENCH_TEST_PART" // scenario, system, part, DSN

func TestMain(m *testing.M) {
	for _, s := range systems.All(nil) {
		if s.Name == lockkeeper || s.Name == pgx {
			measured[s.Name] = s
		}
	}
	if v := os.Getenv(partVariable); v != "" {
		word := strings.SplitN(v, " ", 4)
		s := harness.Setup{System: measured[word[1]], AdminDSN: word[3], Env: harness.Env{PostgresDSN: word[3]}}
		if err := parts[word[0]].Part(context.Background(), s, word[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := pgtest.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// setup is what the harness gives, on a database of the test's own. The scenario's name says who plays its parts.
func setup(t *testing.T, system, name string) harness.Setup {
	t.Helper()
	server, database := pgtest.NewDatabase(t)
	dsn := server.DSNOf(database)
	return harness.Setup{
		System: measured[system], AdminDSN: dsn, Env: harness.Env{PostgresDSN: dsn},
		ServerAddress: fmt.Sprintf("%s/.s.PGSQL.%d", server.SocketDir(), server.Port()),
		Warmup:        20 * time.Millisecond, Duration: 100 * time.Millisecond,
		Meter: harness.Meter{Server: server.PID()},
		Spawn: func(ctx context.Context, part string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), partVariable+"="+strings.Join([]string{name, system, part, dsn}, " "))
			cmd.Stderr = os.Stderr
			return cmd
		},
	}
}

// check checks that the figures are there and are not negative.
func check(t *testing.T, r harness.Result, err error, names ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if r.Extra[name] <= 0 {
			t.Errorf("%s is %v", name, r.Extra[name])
		}
	}
}

var errRefused = errors.New("refused")

// refusing is a system whose clients cannot lock.
func refusing() harness.System {
	return harness.System{Open: func(context.Context, harness.Env) (harness.Client, error) {
		return harness.Client{Lock: func(context.Context, string) (harness.Held, error) { return nil, errRefused },
			Close: func() error { return nil }}, nil
	}}
}
