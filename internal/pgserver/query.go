package pgserver

import (
	"context"
	"fmt"
	"strings"
)

// Exec runs SQL as the superuser over the unix socket, and returns the rows as text with NULL as "". It is for what a
// test needs to know of the server when it will not trust the code under test. Each call has a session that is as good as
// new; see Options.KeepConnection.
func (s *Server) Exec(ctx context.Context, sql string) ([][]string, error) {
	w, err := s.connection(ctx)
	if err != nil {
		return nil, fmt.Errorf("pgserver: connect: %w", err)
	}
	rows, err := w.query(ctx, sql)
	if !s.keepConnection || !w.between() {
		w.close()
	} else {
		s.keep(w)
	}
	if err != nil {
		return nil, fmt.Errorf("pgserver: %s: %w", sql, err)
	}
	return rows, nil
}

// CreateDatabase makes an empty database, as cheaply as the server can: from PostgreSQL 15 on, it would write all of it to the WAL too.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	_, err := s.Exec(ctx, s.createDatabase(name))
	return err
}

func (s *Server) createDatabase(name string) string {
	if s.before15() {
		return "CREATE DATABASE " + name
	}
	return "CREATE DATABASE " + name + " STRATEGY file_copy"
}

// Ask runs SQL as the superuser on whatever listens on a unix socket, on a connection of its own, and returns the rows as Exec does.
func Ask(ctx context.Context, socket, sql string) ([][]string, error) {
	w, err := dial(ctx, socket, Database)
	if err != nil {
		return nil, fmt.Errorf("pgserver: connect: %w", err)
	}
	defer w.close()
	rows, err := w.query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("pgserver: %s: %w", sql, err)
	}
	return rows, nil
}

// execOn runs statements in another database, on a connection of its own.
func (s *Server) execOn(ctx context.Context, database string, statements ...string) error {
	w, err := dial(ctx, s.socketPath(), database)
	if err != nil {
		return fmt.Errorf("pgserver: connect: %w", err)
	}
	defer w.close()
	for _, sql := range statements {
		if _, err := w.query(ctx, sql); err != nil {
			name, _, _ := strings.Cut(sql, " '") // what is quoted may be secret
			return fmt.Errorf("pgserver: %s: %w", name, err)
		}
	}
	return nil
}

// connection is the one that an earlier call has left, where the server still answers on it, or a new one.
func (s *Server) connection(ctx context.Context) (*wire, error) {
	if w := s.idle.Swap(nil); w != nil {
		if _, err := w.query(ctx, "DISCARD ALL"); err == nil {
			return w, nil
		}
		w.close()
	}
	return dial(ctx, s.socketPath(), Database)
}

// keep leaves a connection to the next call; one is enough.
func (s *Server) keep(w *wire) {
	if old := s.idle.Swap(w); old != nil {
		old.close()
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed { // perhaps Close has looked before
		s.forget()
	}
}

// forget closes the connection that was left, if any.
func (s *Server) forget() {
	if w := s.idle.Swap(nil); w != nil {
		w.close()
	}
}
