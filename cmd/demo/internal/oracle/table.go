package oracle

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Row is what the database counted of one key.
type Row struct {
	N      uint64 // the unguarded counter: what the last writer had read, plus one
	Writes uint64 // the writes that arrived, counted by the server itself
	Torn   uint64 // the writes among them whose value was stale when they arrived
}

// CreateTable makes the table with a row for each key and returns its qualified name. It never takes over a table that
// is already there.
func CreateTable(ctx context.Context, conn *pgx.Conn, name string, keys int) (string, error) {
	var schema *string
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.current_schema()`).Scan(&schema); err != nil {
		return "", fmt.Errorf("asking for the current schema: %w", err)
	}
	if schema == nil {
		return "", errors.New("no schema to create the demo's table in: the role's search_path names none that exists")
	}
	table := pgx.Identifier{*schema, name}.Sanitize()
	// The fill factor leaves room on each page for new versions of a row that changes all the time.
	_, err := conn.Exec(ctx, `CREATE TABLE `+table+` (
		key    int    PRIMARY KEY,
		n      bigint NOT NULL DEFAULT 0,
		writes bigint NOT NULL DEFAULT 0,
		torn   bigint NOT NULL DEFAULT 0
	) WITH (fillfactor = 20)`)
	if err != nil {
		return "", fmt.Errorf("creating the demo's table: %w", explainCreate(err, *schema))
	}
	_, err = conn.Exec(ctx, `COMMENT ON TABLE `+table+` IS 'made by the load test of Lockkeeper; safe to drop when none is running'`)
	if err == nil {
		_, err = conn.Exec(ctx, `INSERT INTO `+table+` (key) SELECT pg_catalog.generate_series(0, $1::int - 1)`, keys)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("filling the demo's table: %w", err), DropTable(ctx, conn, table))
	}
	return table, nil
}

func explainCreate(err error, schema string) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err
	}
	switch pgErr.Code {
	case "42501":
		return fmt.Errorf("the role may not create a table in schema %q; grant it CREATE there, or use another role: %w", schema, err)
	case "25006":
		return fmt.Errorf("the server is read-only (a standby?); locks and the demo need the primary: %w", err)
	default:
		return err
	}
}

// DropTable removes what CreateTable made.
func DropTable(ctx context.Context, conn *pgx.Conn, table string) error {
	if _, err := conn.Exec(ctx, `DROP TABLE IF EXISTS `+table); err != nil {
		return fmt.Errorf("dropping the demo's table %s: %w", table, err)
	}
	return nil
}

// ReadTable returns the rows in the order of the keys. A row that has vanished counts as zero.
func ReadTable(ctx context.Context, conn *pgx.Conn, table string, keys int) ([]Row, error) {
	out := make([]Row, keys)
	rows, err := conn.Query(ctx, `SELECT key, n, writes, torn FROM `+table)
	if err != nil {
		return nil, fmt.Errorf("reading the counters: %w", err)
	}
	var key int
	var row Row
	_, err = pgx.ForEachRow(rows, []any{&key, &row.N, &row.Writes, &row.Torn}, func() error {
		if key >= 0 && key < keys {
			out[key] = row
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the counters: %w", err)
	}
	return out, nil
}
