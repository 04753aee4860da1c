// Package target is the server that a load runs against: the user's, or a throwaway one that the demo starts and
// removes.
package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

const (
	startBound   = 90 * time.Second
	connectBound = 10 * time.Second
)

// Target is a server that accepts connections.
type Target struct {
	DSN       string
	Name      string // for people: "PostgreSQL 15.18"
	Throwaway bool
	server    *pgserver.Server
}

// reserve is what a throwaway server has on top of the load's own connections: the superuser's, the demo's control
// connection, and room for a curious user's psql.
const reserve = 20

// Throwaway starts a server that allows at least the given number of connections. Close removes it.
func Throwaway(ctx context.Context, connections int) (*Target, error) {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	server, err := pgserver.Start(ctx, pgserver.Options{Settings: map[string]string{
		"max_connections": strconv.Itoa(max(100, connections+reserve)),
	}})
	if err != nil {
		return nil, fmt.Errorf("starting a throwaway PostgreSQL: %w", err)
	}
	forgetEnvironment()
	return &Target{DSN: server.DSN(), Name: "PostgreSQL " + server.Version(), Throwaway: true, server: server}, nil
}

// forgetEnvironment removes the variables that are meant for another server: a PGSERVICE or PGOPTIONS would apply to
// this one as well, here and in the worker processes.
func forgetEnvironment() {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
}

// Existing connects to the user's server once, to see that it is there.
func Existing(ctx context.Context, dsn string) (*Target, error) {
	t := &Target{DSN: dsn}
	conn, err := t.Connect(ctx, "lockkeeper-demo")
	if err != nil {
		return nil, err
	}
	defer t.Disconnect(conn)
	version, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
	t.Name = "PostgreSQL " + version
	return t, nil
}

// Connect opens a connection of the demo's own.
func (t *Target) Connect(ctx context.Context, app string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectBound)
	defer cancel()
	config, err := pgx.ParseConfig(t.DSN)
	if err != nil {
		// pgx quotes parts of a string that it cannot parse, and a password may be among them.
		return nil, errors.New("the connection string cannot be parsed; " +
			"it looks like postgres://user:password@host:5432/database or like \"host=... user=... dbname=...\"")
	}
	config.RuntimeParams["application_name"] = app
	if config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, explainConnect(err)
	}
	return conn, nil
}

// Disconnect closes a connection of Connect, and waits until its goroutines have ended.
func (t *Target) Disconnect(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), connectBound)
	defer cancel()
	_ = conn.Close(ctx)
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// explainConnect puts pgx's many lines on one, and says what to look at.
func explainConnect(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	hint := ""
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
		switch pgErr.Code {
		case "28P01", "28000":
			hint = "check the user and the password"
		case "3D000":
			hint = "check the name of the database"
		case "42501":
			hint = "the role needs CONNECT on the database"
		case "53300":
			hint = "the server has no free connection"
		}
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "refused"), strings.Contains(text, "no such"):
		hint = "is the server running, and are the host and the port right?"
	}
	if hint != "" {
		hint = "; " + hint
	}
	return fmt.Errorf("cannot connect to the server: %s%s", text, hint)
}

// Close removes a throwaway server; the user's is left as it is.
func (t *Target) Close() error {
	if t.server == nil {
		return nil
	}
	if err := t.server.Close(); err != nil {
		return fmt.Errorf("removing the throwaway PostgreSQL: %w", err)
	}
	return nil
}
