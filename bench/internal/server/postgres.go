package server

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/pgbench"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// settings are those of a server in production that was made ready for many locks: everything reaches the disk, and the
// lock table has room for 450,000.
var settings = map[string]string{
	"max_connections":           "220",
	"max_locks_per_transaction": "2048",
	"shared_buffers":            "128MB",
}

// Postgres is a throwaway PostgreSQL, and the systems that run on it.
func Postgres(systems []peer.System) Kind {
	return Kind{Name: "PostgreSQL", Systems: systems, Start: startPostgres,
		Env: func(e *peer.Env, address string) { e.PostgresDSN = address }}
}

func startPostgres(ctx context.Context) (*Server, error) {
	// What is meant for another server would apply to this one as well, here and in the child processes.
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
	s, err := pgserver.Start(ctx, pgserver.Options{Durable: true, Settings: settings})
	if err != nil {
		return nil, fmt.Errorf("starting a throwaway PostgreSQL: %w", err)
	}
	return &Server{
		Version:    "PostgreSQL " + s.Version(),
		Socket:     s.DSN(),
		SocketFile: filepath.Join(s.SocketDir(), ".s.PGSQL."+strconv.Itoa(s.Port())),
		TCP:        s.TCPAddr(),
		DSN:        func(address string) string { return through(s.TCPDSN(), address) },
		PID:        s.PID(),
		Tidy: func(ctx context.Context) error {
			_, err := s.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"+
				" WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
			return err
		},
		Switch: func(ctx context.Context) (pgbench.Switch, error) { return pgbench.MeasureSwitch(ctx, s.DSN()) },
		Close:  s.Close,
	}, nil
}

// through leads a DSN in URL form to another address: the proxy's.
func through(dsn, address string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		panic("BUG: a throwaway server's DSN is no URL") // without the error, which would quote the password
	}
	u.Host = address
	return u.String()
}
