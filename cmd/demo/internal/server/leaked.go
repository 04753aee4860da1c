package server

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
)

// Leaked is what is left of a run that says it has closed everything.
type Leaked struct {
	ServerLocks int `json:"server_locks"`
	Connections int `json:"connections"`
	Goroutines  int `json:"goroutines"`
}

func (l Leaked) String() string {
	return fmt.Sprintf("server locks %d · connections %d · goroutines %d", l.ServerLocks, l.Connections, l.Goroutines)
}

// goneBound is how long what has been closed may take to be gone. The server ends the backends of clients that have
// gone one after another. A goroutine is counted until the scheduler has taken it away, and pgx's pool does not wait for
// its own to end.
const goneBound = 5 * time.Second

// CountLeft asks the server for advisory locks and connections of applications whose names begin with prefix, until
// there are none or a short while has passed. On a throwaway server, where nobody else is, those of any name count.
func (s *Server) CountLeft(ctx context.Context, prefix string, left *Leaked) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), TidyBound)
	defer cancel()
	return s.Control(ctx, func(conn *pgx.Conn) error {
		for deadline := time.Now().Add(goneBound); ; {
			err := conn.QueryRow(ctx, `
				WITH ours AS (
					SELECT pid FROM pg_catalog.pg_stat_activity
					 WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
					   AND ($2 OR pg_catalog.left(application_name, pg_catalog.length($1)) = $1)
				)
				SELECT (SELECT count(*) FROM pg_catalog.pg_locks l
				         WHERE l.locktype = 'advisory' AND ($2 OR l.pid IN (SELECT pid FROM ours))),
				       (SELECT count(*) FROM ours)`, prefix, s.Throwaway).Scan(&left.ServerLocks, &left.Connections)
			if err != nil {
				return fmt.Errorf("asking the server what is left: %w", err)
			}
			if left.ServerLocks+left.Connections == 0 || time.Now().After(deadline) {
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
}

// CountGoroutines waits until no more goroutines are left than there were before, or a short while has passed. It
// returns how many more there are, and what all of them are doing.
func CountGoroutines(before int) (leaked int, stacks string) {
	return countGoroutines(before, goneBound)
}

func countGoroutines(before int, bound time.Duration) (leaked int, stacks string) {
	for deadline := time.Now().Add(bound); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			return runtime.NumGoroutine() - before, Stacks()
		}
		<-time.After(5 * time.Millisecond)
	}
	return 0, ""
}

// Stacks is what every goroutine is doing, cut at a length that can still be read.
func Stacks() string {
	buffer := make([]byte, 256<<10)
	return string(buffer[:runtime.Stack(buffer, true)])
}
