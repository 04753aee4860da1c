package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/pg"
)

// drawing is one round of the drawer: a transaction that draws tokens. It has a goroutine of its own; the drawer's has it before and after.
type drawing struct {
	questions *pg.Questions
	draws     []*draw
	ids       map[int64]bool // of all of them

	tokens    []int64 // by draw; 0: a guarded transaction is in the way
	connected bool
	canceled  bool // by stop
	err       error
}

// add puts a draw into the round. It reports false where it has to wait for the next: the round is full, or has one of its ids already.
func (r *drawing) add(w *draw) bool {
	if r.ids == nil {
		r.ids = make(map[int64]bool)
	}
	if len(r.ids) > 0 && len(r.ids)+len(w.ids) > maxDrawn || slices.ContainsFunc(w.ids, func(id int64) bool { return r.ids[id] }) {
		return false
	}
	for _, id := range w.ids {
		r.ids[id] = true
	}
	r.draws = append(r.draws, w)
	return true
}

// run draws; with nothing to draw it closes the connection.
func (r *drawing) run(ctx context.Context) {
	if len(r.draws) == 0 {
		r.questions.Close()
		return
	}
	r.tokens = make([]int64, len(r.draws))
	r.err = r.ask(ctx)
	r.connected, r.canceled = r.questions.Connected(), ctx.Err() != nil
	if r.err == nil || r.canceled {
		return
	}
	var server *pgconn.PgError
	switch missing := errors.As(r.err, &server) && notMigrated(server.Code); {
	case missing:
		r.err = fmt.Errorf("%w: run manager.Migrate once for this database: %s (SQLSTATE %s)", ErrNotMigrated, server.Message, server.Code)
	case server != nil && comesAgain(server.Code):
		r.err = nil // as if blocked
	}
}

// notMigrated reports that the table is missing: undefined_table, invalid_schema_name, undefined_function, undefined_column.
func notMigrated(code string) bool {
	return code == "42P01" || code == "3F000" || code == "42883" || code == "42703"
}

// comesAgain reports that another manager drew at the same time: lock_not_available, deadlock_detected, serialization_failure.
func comesAgain(code string) bool { return code == "55P03" || code == "40P01" || code == "40001" }

const (
	// A key's first draw makes its row.
	insertSQL = `INSERT INTO lockkeeper.fence (id) SELECT v.id FROM pg_catalog.unnest('{%s}'::pg_catalog.int8[]) AS v(id)
 WHERE EXISTS (SELECT 1 FROM lockkeeper.version AS s WHERE s.version OPERATOR(pg_catalog.=) %d) ORDER BY v.id ON CONFLICT (id) DO NOTHING`
	// drawSQL draws for groups of ids: all ids of a group get one token, which is greater than each had. A row that a guarded transaction has
	// locked is skipped, and with it its group: the transaction holds no other up.
	drawSQL = `WITH want AS (
  SELECT w.id, w.g FROM ROWS FROM (pg_catalog.unnest('{%[1]s}'::pg_catalog.int8[]), pg_catalog.unnest('{%[2]s}'::pg_catalog.int8[])) AS w(id, g)
  WHERE EXISTS (SELECT 1 FROM lockkeeper.version AS s WHERE s.version OPERATOR(pg_catalog.=) %[3]d)
 ), locked AS (
  SELECT f.id, f.token, w.g FROM lockkeeper.fence AS f JOIN want AS w ON f.id OPERATOR(pg_catalog.=) w.id
  ORDER BY f.id FOR NO KEY UPDATE OF f SKIP LOCKED
 ), next AS (
  SELECT l.g, pg_catalog.max(l.token) OPERATOR(pg_catalog.+) 1::pg_catalog.int8 AS token FROM locked AS l GROUP BY l.g
  HAVING pg_catalog.count(*) OPERATOR(pg_catalog.=) (SELECT pg_catalog.count(*) FROM want AS w WHERE w.g OPERATOR(pg_catalog.=) l.g)
 )
 UPDATE lockkeeper.fence AS f SET token = n.token FROM want AS w, next AS n
 WHERE f.id OPERATOR(pg_catalog.=) w.id AND w.g OPERATOR(pg_catalog.=) n.g RETURNING n.g, n.token`
	versionSQL = `SELECT s.version FROM lockkeeper.version AS s`
)

func (r *drawing) ask(ctx context.Context) error {
	var ids, groups []string
	for i, w := range r.draws {
		for _, id := range w.ids {
			ids, groups = append(ids, strconv.FormatInt(id, 10)), append(groups, strconv.Itoa(i))
		}
	}
	all := strings.Join(ids, ",")
	rows, err := r.questions.Transact(ctx, "drawing tokens", versionSQL, fmt.Sprintf(insertSQL, all, fenceVersion),
		fmt.Sprintf(drawSQL, all, strings.Join(groups, ","), fenceVersion))
	if err != nil {
		return err
	}
	if err := checkVersion(rows[0]); err != nil {
		return err
	}
	for _, row := range rows[2] {
		i, err := strconv.Atoi(row[0])
		token, failed := strconv.ParseInt(row[1], 10, 64)
		if err = errors.Join(err, failed); err != nil || i >= len(r.tokens) {
			return fmt.Errorf("the server answers %q: %w", row, err)
		}
		r.tokens[i] = token
	}
	return nil
}

// checkVersion compares the table's version with ours.
func checkVersion(rows [][]string) error {
	if len(rows) == 1 && len(rows[0]) == 1 && rows[0][0] == strconv.Itoa(fenceVersion) {
		return nil
	}
	return fmt.Errorf("%w: the schema lockkeeper has version %q, and this program knows version %d", ErrNotMigrated, rows, fenceVersion)
}
