package systems

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// settings are those of a server in production that was made ready for many locks: everything reaches the disk, and the
// lock table has room for 450,000.
var settings = map[string]string{
	"max_connections":           "220",
	"max_locks_per_transaction": "2048",
	"shared_buffers":            "128MB",
}

func startPostgres(ctx context.Context) (*harness.Instance, error) {
	_, instance, err := startPostgresServer(ctx)
	return instance, err
}

func startPostgresServer(ctx context.Context) (*pgserver.Server, *harness.Instance, error) {
	// What is meant for another server would apply to this one as well, here and in the child processes.
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
	s, err := pgserver.Start(ctx, pgserver.Options{Durable: true, Settings: settings})
	if err != nil {
		return nil, nil, fmt.Errorf("starting a throwaway PostgreSQL: %w", err)
	}
	return s, &harness.Instance{
		Version: "PostgreSQL " + s.Version(), PID: s.PID(), TCP: s.TCPAddr(), AdminDSN: s.DSN(),
		Address: filepath.Join(s.SocketDir(), ".s.PGSQL."+strconv.Itoa(s.Port())),
		Env: func(through string) harness.Env {
			if through == "" {
				return harness.Env{PostgresDSN: s.DSN()}
			}
			u, err := url.Parse(s.TCPDSN())
			if err != nil {
				panic("BUG: a throwaway server's DSN is no URL") // without the error, which would quote the password
			}
			u.Host = through
			return harness.Env{PostgresDSN: u.String()}
		},
		Tidy: func(ctx context.Context) error {
			_, err := s.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"+
				" WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
			return err
		},
		Switch: func(ctx context.Context) (harness.SwitchCost, error) { return switchCost(ctx, s.DSN()) },
		Close:  s.Close,
	}, nil
}
