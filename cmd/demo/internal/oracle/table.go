// Package oracle judges exclusion from outside the lock manager, in two ways that share nothing with it or with each
// other.
//
// The first is in the database. Each holder reads its key's counter with one statement and writes back the value plus
// one with another. Nothing guards the two but the lock. Had two holders overlapped, one increment would have
// overwritten the other, and the counter would stay below the number of grants. The same UPDATE also counts the writes
// (in the server, atomically) and those whose value was stale when they arrived, so that the verdict stays exact even
// where a worker never heard the answer to its write.
//
// The second is a table with a slot for each key in memory that all worker processes share: a holder puts its mark in, and
// must find its own mark when it leaves. It sees overlaps that never reach the counter, such as a hold that ends before
// its write, and it costs nothing worth measuring.
//
// Those who share a lock, readers, write nothing. Each reads the counter at the beginning and at the end of its hold, and must
// not find it changed, nor meet a mark in the table.
package oracle

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
)

// Row is what the database counted of one key.
type Row struct {
	N      uint64 // the unguarded counter: what the last writer had read, plus one
	Writes uint64 // the writes that arrived, counted by the server itself
	Torn   uint64 // the writes among them whose value was stale when they arrived
}

// CreateTable makes the table with a row for each key. It never takes over a table that is already there.
func CreateTable(ctx context.Context, conn *pgx.Conn, name string, keys int) error {
	// The fill factor leaves room on each page for new versions of a row that changes all the time.
	_, err := conn.Exec(ctx, fmt.Sprintf(`
		CREATE TABLE %[1]s (
			key    int    PRIMARY KEY,
			n      bigint NOT NULL DEFAULT 0,
			writes bigint NOT NULL DEFAULT 0,
			torn   bigint NOT NULL DEFAULT 0
		) WITH (fillfactor = 20);
		COMMENT ON TABLE %[1]s IS 'made by the load test of Lockkeeper; safe to drop when none is running';
		INSERT INTO %[1]s (key) SELECT pg_catalog.generate_series(0, %[2]d - 1)`, name, keys))
	return server.Explain("creating the demo's table", err, map[string]string{
		"3F000": "the role's search_path names no schema that exists",
		"42501": "the role may not create a table in the schema; grant it CREATE there, or use another role",
		"25006": "the server is read-only (a standby?); locks and the demo need the primary",
	})
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
	rows, _ := conn.Query(ctx, `SELECT key, n, writes, torn FROM `+table) // its error is rows' own, too
	var key int
	var row Row
	_, err := pgx.ForEachRow(rows, []any{&key, &row.N, &row.Writes, &row.Torn}, func() error {
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
