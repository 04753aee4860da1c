package manager

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The part of a round that is about takeover delays.

// markSQL writes marks, each of which is of an id of its own. A row that a guarded transaction has locked is left for another round. All holds up
// to ended are over. So they are up to a token that nobody was told, where they are up to the one before it: that stays in the row when
// others draw, as a caller may who gave up and whose draw was under way.
const markSQL = `WITH m AS (
  SELECT * FROM ROWS FROM (pg_catalog.unnest('{%s}'::pg_catalog.int8[]), pg_catalog.unnest('{%s}'::pg_catalog.int8[]), pg_catalog.unnest('{%s}'::pg_catalog.bool[]),
   pg_catalog.unnest('{%s}'::pg_catalog.int8[]), pg_catalog.unnest('{%s}'::pg_catalog.int8[]), pg_catalog.unnest('{%s}'::pg_catalog.int8[])) AS m(id, token, void, told, waited, late)
 ), locked AS (
  SELECT f.id FROM lockkeeper.fence AS f JOIN m ON f.id OPERATOR(pg_catalog.=) m.id ORDER BY f.id FOR NO KEY UPDATE OF f SKIP LOCKED
 )
 UPDATE lockkeeper.fence AS f SET
  ended = CASE WHEN m.void AND f.ended OPERATOR(pg_catalog.<) m.told THEN f.ended ELSE GREATEST(f.ended, m.token) END,
  voided = CASE WHEN m.void AND f.token OPERATOR(pg_catalog.=) m.token THEN m.token ELSE f.voided END,
  waited = CASE WHEN m.void AND f.token OPERATOR(pg_catalog.=) m.token THEN m.waited WHEN m.void AND f.told OPERATOR(pg_catalog.=) m.token THEN m.late ELSE f.waited END,
  told = CASE WHEN m.void AND f.told OPERATOR(pg_catalog.=) m.token THEN m.told ELSE f.told END
 FROM m JOIN locked AS l ON l.id OPERATOR(pg_catalog.=) m.id WHERE f.id OPERATOR(pg_catalog.=) m.id RETURNING m.id`

// checkSQL looks again at the rows of tokens that wait for the holds before.
const checkSQL = `SELECT f.id, f.told, f.ended, f.waited FROM lockkeeper.fence AS f WHERE f.id OPERATOR(pg_catalog.=) ANY ('{%s}'::pg_catalog.int8[])
 AND NOT pg_catalog.pg_is_in_recovery()`

func (r *drawing) markStatement() string {
	var columns [6][]string
	for _, m := range r.marks {
		for i, value := range []string{number(m.id), number(m.token), strconv.FormatBool(m.void), number(m.told), number(m.waited.Milliseconds()), number(m.late.Milliseconds())} {
			columns[i] = append(columns[i], value)
		}
	}
	var arrays [6]any
	for i := range columns {
		arrays[i] = strings.Join(columns[i], ",")
	}
	return fmt.Sprintf(markSQL, arrays[:]...)
}

func (r *drawing) checkStatement() string {
	var ids []string
	for _, w := range r.checks {
		for _, id := range w.ids {
			ids = append(ids, number(id))
		}
	}
	return fmt.Sprintf(checkSQL, strings.Join(ids, ","))
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// parseBefore reads what a row says of the hold before, in its last four columns: id, told, ended, waited.
func parseBefore(row []string) (b before, err error) {
	row = row[len(row)-4:]
	var waited int64
	for column, to := range map[int]*int64{0: &b.id, 1: &b.told, 2: &b.ended, 3: &waited} {
		if *to, err = strconv.ParseInt(row[column], 10, 64); err != nil {
			return b, fmt.Errorf("the server answers %q: %w", row, err)
		}
	}
	b.waited = time.Duration(waited) * time.Millisecond
	return b, nil
}

// markAndCheck writes the marks, in a transaction of their own, and looks at the delayed draws.
func (r *drawing) markAndCheck(ctx context.Context) error {
	var statements []string
	if len(r.marks) > 0 {
		statements = append(statements, r.markStatement())
	}
	if len(r.checks) > 0 {
		statements = append(statements, r.checkStatement())
	}
	if len(statements) == 0 {
		return nil
	}
	rows, err := r.questions.Transact(ctx, "marking tokens", statements...)
	if err != nil {
		return err
	}
	r.seen, r.marked = make(map[int64]before), make(map[int64]bool)
	if len(r.marks) > 0 {
		for _, row := range rows[0] {
			id, err := strconv.ParseInt(row[0], 10, 64)
			if err != nil {
				return fmt.Errorf("the server answers %q: %w", row, err)
			}
			r.marked[id] = true
		}
	}
	if len(r.checks) > 0 {
		for _, row := range rows[len(rows)-1] {
			b, err := parseBefore(row)
			if err != nil {
				return err
			}
			r.seen[b.id] = b
		}
	}
	return nil
}
