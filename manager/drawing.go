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
	checks    []*draw        // that have their token, and wait for the holds before
	marks     []*tokenMark   // of an id each
	last      bool           // the drawer ends: there are marks alone

	tokens  []int64          // by draw; 0: a guarded transaction is in the way
	befores [][]before       // likewise, and by id
	seen    map[int64]before // of the checks, by id
	marked  map[int64]bool   // the ids of the marks that are written

	unmarkable bool // another attempt would not write them
	connected  bool
	err        error
}

// add puts a draw into the round, unless it has to wait for the next: the round is full, or has one of its ids already.
func (r *drawing) add(w *draw) {
	if w.token != 0 {
		r.checks = append(r.checks, w)
		return
	}
	if r.ids == nil {
		r.ids = make(map[int64]bool)
	}
	if len(r.ids) > 0 && len(r.ids)+len(w.ids) > maxDrawn || slices.ContainsFunc(w.ids, func(id int64) bool { return r.ids[id] }) {
		return
	}
	for _, id := range w.ids {
		r.ids[id] = true
	}
	r.draws = append(r.draws, w)
}

// addMarks puts marks into the round: the first of each id.
func (r *drawing) addMarks(d *drawer) {
	ids := make(map[int64]bool)
	for _, m := range d.marks {
		if !ids[m.id] && len(ids) < maxDrawn {
			ids[m.id] = true
			r.marks = append(r.marks, m)
		}
	}
}

// run draws; with nothing to draw it closes the connection.
func (r *drawing) run(ctx context.Context) {
	if len(r.draws)+len(r.checks)+len(r.marks) == 0 {
		r.questions.Close()
		return
	}
	r.tokens, r.befores = make([]int64, len(r.draws)), make([][]before, len(r.draws))
	if failed := r.markAndCheck(ctx); failed != nil {
		r.unmarkable = !pg.Transient(failed) && ctx.Err() == nil
		r.marked, r.seen = nil, nil // they are tried again; a draw tells its caller what is wrong
	}
	if len(r.draws) > 0 {
		r.err = r.ask(ctx)
	}
	if r.connected = r.questions.Connected(); r.err == nil {
		return
	}
	var server *pgconn.PgError
	switch missing := errors.As(r.err, &server) && notMigrated(server.Code); {
	case missing:
		r.err = fmt.Errorf("%w: run manager.Migrate once for this database: %s (SQLSTATE %s)", ErrNotMigrated, server.Message, server.Code)
	case server != nil && strings.HasPrefix(server.Code, "42"): // about the statement, not the connection
		r.err = fmt.Errorf("the server says %w", server)
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
	// A key's first draw makes its row. One that is there is not touched: the insert would wait for whoever has changed it and not committed.
	insertSQL = `INSERT INTO lockkeeper.fence (id) SELECT v.id FROM pg_catalog.unnest('{%s}'::pg_catalog.int8[]) AS v(id)
 WHERE EXISTS (SELECT 1 FROM lockkeeper.version AS s WHERE s.version OPERATOR(pg_catalog.=) %d)
 AND NOT EXISTS (SELECT 1 FROM lockkeeper.fence AS f WHERE f.id OPERATOR(pg_catalog.=) v.id) ORDER BY v.id ON CONFLICT (id) DO NOTHING`
	// drawSQL draws for groups of ids: all ids of a group get one token, which is greater than each had. A row that a guarded transaction has
	// locked is skipped, and with it its group: the transaction holds no other up. Of each row it finds the newest token whose holder was told it,
	// up to which the holds have ended, and for how long that one has been waited for.
	drawSQL = `WITH want AS (
  SELECT w.id, w.g FROM ROWS FROM (pg_catalog.unnest('{%[1]s}'::pg_catalog.int8[]), pg_catalog.unnest('{%[2]s}'::pg_catalog.int8[])) AS w(id, g)
  WHERE EXISTS (SELECT 1 FROM lockkeeper.version AS s WHERE s.version OPERATOR(pg_catalog.=) %[3]d)
 ), locked AS (
  SELECT f.id, f.token, f.ended, w.g, CASE WHEN f.voided OPERATOR(pg_catalog.>=) f.token THEN f.told ELSE f.token END AS told,
   CASE WHEN f.voided OPERATOR(pg_catalog.>=) f.token THEN f.waited ELSE 0 END AS waited FROM lockkeeper.fence AS f JOIN want AS w ON f.id OPERATOR(pg_catalog.=) w.id
  ORDER BY f.id FOR NO KEY UPDATE OF f SKIP LOCKED
 ), next AS (
  SELECT l.g, pg_catalog.max(l.token) OPERATOR(pg_catalog.+) 1::pg_catalog.int8 AS token FROM locked AS l GROUP BY l.g
  HAVING pg_catalog.count(*) OPERATOR(pg_catalog.=) (SELECT pg_catalog.count(*) FROM want AS w WHERE w.g OPERATOR(pg_catalog.=) l.g)
 )
 UPDATE lockkeeper.fence AS f SET token = n.token, told = l.told, waited = l.waited FROM locked AS l, next AS n
 WHERE f.id OPERATOR(pg_catalog.=) l.id AND l.g OPERATOR(pg_catalog.=) n.g
 RETURNING n.g, n.token, l.id, l.told, l.ended, l.waited`
	versionSQL = `SELECT s.version FROM lockkeeper.version AS s`
)

func (r *drawing) ask(ctx context.Context) error {
	var ids, groups []string
	for i, w := range r.draws {
		for _, id := range w.ids {
			ids, groups = append(ids, number(id)), append(groups, strconv.Itoa(i))
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
		b, err := parseBefore(row)
		if err != nil {
			return err
		}
		r.tokens[i], r.befores[i] = token, append(r.befores[i], b)
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
