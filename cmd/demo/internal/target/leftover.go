package target

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Leftover is what the server still has of a load that says it has closed everything.
type Leftover struct {
	ServerLocks int
	Connections int
}

// goneBound is how long the server may take to end backends whose clients have gone: they end by themselves, one after
// another, and no client can wait for it.
const goneBound = 5 * time.Second

// Leftovers asks the server for advisory locks and connections of applications whose names begin with prefix, until
// there are none or a short while has passed. On a throwaway server, where nobody else is, those of any name count.
func (t *Target) Leftovers(ctx context.Context, conn *pgx.Conn, prefix string) (Leftover, error) {
	deadline := time.Now().Add(goneBound)
	for {
		var left Leftover
		err := conn.QueryRow(ctx, `
			WITH ours AS (
				SELECT pid FROM pg_catalog.pg_stat_activity
				 WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
				   AND ($2 OR pg_catalog.left(application_name, pg_catalog.length($1)) = $1)
			)
			SELECT (SELECT count(*) FROM pg_catalog.pg_locks l
			         WHERE l.locktype = 'advisory' AND ($2 OR l.pid IN (SELECT pid FROM ours))),
			       (SELECT count(*) FROM ours)`, prefix, t.Throwaway).Scan(&left.ServerLocks, &left.Connections)
		if err != nil {
			return left, fmt.Errorf("asking the server what is left: %w", err)
		}
		if left == (Leftover{}) || time.Now().After(deadline) {
			return left, nil
		}
		select {
		case <-ctx.Done():
			return left, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}
