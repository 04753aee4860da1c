// Package server is the PostgreSQL that a run works on: the user's, or a throwaway one that is removed at the end. It also
// opens the lock manager under test and counts what a run has left behind.
package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	startBound   = 90 * time.Second
	connectBound = 10 * time.Second
	// TidyBound bounds what is done after a run, an interrupted one too.
	TidyBound = 30 * time.Second
	// reserve of a throwaway server's connections are for the superuser, the demo's own and a curious user's psql.
	reserve = 20
)

// Server is a server that accepts connections.
type Server struct {
	DSN       string
	Name      string // for people: "PostgreSQL 15.18"
	Throwaway bool
	started   *pgserver.Server
	view      *report.Screen
}

// Open connects to the user's server once, to see that it is there. With no DSN it starts a throwaway server that
// allows at least the given number of connections.
func Open(ctx context.Context, dsn string, connections int, view *report.Screen) (*Server, error) {
	if dsn != "" {
		s := &Server{DSN: dsn}
		return s, s.Control(ctx, func(conn *pgx.Conn) error {
			version, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
			s.Name = "PostgreSQL " + version
			return nil
		})
	}
	if err := view.Say("Starting a throwaway PostgreSQL; it is removed at the end."); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	settings := map[string]string{"max_connections": strconv.Itoa(max(100, connections+reserve))}
	started, err := pgserver.Start(ctx, pgserver.Options{Settings: settings})
	if err != nil {
		return nil, fmt.Errorf("starting a throwaway PostgreSQL: %w", err)
	}
	// A PGSERVICE or PGOPTIONS is meant for another server, and would apply to this one too, here and in the worker processes.
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
	return &Server{DSN: started.DSN(), Name: "PostgreSQL " + started.Version(), Throwaway: true, started: started, view: view}, nil
}

// Close removes a throwaway server; the user's is left as it is.
func (s *Server) Close() error {
	if !s.Throwaway {
		return nil
	}
	err := s.view.Say("Removing the throwaway PostgreSQL.")
	if closeErr := s.started.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("removing the throwaway PostgreSQL: %w", closeErr))
	}
	return err
}

// Config is of connections to a server that takes writes. An error of it repeats no password.
func Config(dsn, app string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// pgx quotes parts of a string that it cannot parse, and a password may be among them.
		return nil, errors.New("the connection string cannot be parsed; " +
			"it looks like postgres://user:password@host:5432/database or like \"host=... user=... dbname=...\"")
	}
	config.ConnConfig.RuntimeParams["application_name"] = app
	if config.ConnConfig.ValidateConnect == nil {
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, nil
}

// Control opens a connection of the demo's own for one phase of a run. None is kept through the run, which may outlive
// the server's restart.
func (s *Server) Control(ctx context.Context, do func(*pgx.Conn) error) error {
	config, err := Config(s.DSN, "lockkeeper-demo-control")
	if err != nil {
		return err
	}
	connecting, cancel := context.WithTimeout(ctx, connectBound)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, config.ConnConfig)
	if err != nil {
		return explainConnect(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectBound)
		defer cancel()
		_ = conn.Close(ctx)
		select { // until its goroutines have ended, too
		case <-conn.PgConn().CleanupDone():
		case <-ctx.Done():
		}
	}()
	return do(conn)
}

// Explain says what failed and, by the SQLSTATE of the server's error, what to look at. It leaves no error alone.
func Explain(what string, err error, hints map[string]string) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", what, err)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && hints[pgErr.Code] != "" {
		err = fmt.Errorf("%w; %s", err, hints[pgErr.Code])
	}
	return err
}

func explainConnect(err error) error {
	text, answered := err.Error(), errors.As(err, new(*pgconn.PgError))
	if !answered && (errors.Is(err, context.DeadlineExceeded) || strings.Contains(text, "refused") || strings.Contains(text, "no such")) {
		err = fmt.Errorf("%w; is the server running, and are the host and the port right?", err)
	}
	err = Explain("cannot connect to the server", err, map[string]string{
		"28P01": "check the user and the password",
		"28000": "check the user and the password",
		"3D000": "check the name of the database",
		"42501": "the role needs CONNECT on the database",
		"53300": "the server has no free connection",
	})
	return errors.New(strings.Join(strings.Fields(err.Error()), " ")) // pgx's many lines on one
}

// NewRun is an id that keeps the traces of this run apart from any other's.
func NewRun() string {
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// OpenManager opens the manager under test, as a program that uses the library would. app is its application_name.
func OpenManager(ctx context.Context, dsn, app, namespace string, sessions, maxWaiters int, more ...manager.Option) (*manager.Manager, error) {
	// Of few sessions most should be left to keys that wait; of many, the library's own four are enough for the others.
	shared := min(max(1, sessions/4), 4)
	return manager.Open(ctx, dsn, append(more, manager.WithApplicationName(app), manager.WithNamespace(namespace), manager.WithMaxWaiters(maxWaiters),
		manager.WithMaxSessions(sessions), manager.WithSharedSessions(shared), manager.WithWaitingSessions(max(1, sessions-shared)))...)
}
