package manager

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// round is one turn of the watcher's work at the server: it publishes edges that are new, then looks at those of all processes. Of two
// processes that close one circle, the one that publishes last sees all of it. It has a goroutine of its own.
type round struct {
	publish   []*actor.Claim // granted where Err is nil afterwards
	questions *pg.Questions  // used by one round at a time
	last      bool           // nobody waits any more: it closes the connection
	// What was seen, if err is nil.
	view      *view
	err       error
	took      time.Duration
	connected bool // a connection is left open
}

func (r *round) run(ctx context.Context, m *Manager) *round {
	begun := time.Now()
	r.ask(ctx, m)
	switch r.err = context.Cause(ctx); {
	case r.last || r.err != nil:
		r.questions.Close()
	default:
		r.view, r.err = look(ctx, r.questions)
	}
	r.took, r.connected = time.Since(begun), r.questions.Connected()
	return r
}

// ask takes the locks that show the edges. It never waits for a holder.
func (r *round) ask(ctx context.Context, m *Manager) {
	var sent []*actor.Claim
	for _, c := range r.publish {
		if err := m.supervisor.Submit(c); err != nil {
			c.Err = err // there is no keeper to write it
			continue
		}
		sent = append(sent, c)
	}
	for _, c := range sent {
		_ = decision(ctx, nil, c) // judge looks at it
	}
}

// marksSQL gives two kinds of rows: each edge that some session shows, with pid and application; and each key that an edge begins with and
// somebody holds, with its id. An edge counts if somebody holds a lock whose folded id is that of its first key, and likewise of its second: so
// it says nothing of shared locks that are no edges. (IS TRUE keeps the planner from joining what it takes for few rows by a nested loop. Measured
// with 10,000 locks: see docs/kinds.md.)
const marksSQL = `WITH held AS MATERIALIZED (
 SELECT l.classid::pg_catalog.int8 AS high, l.objid::pg_catalog.int8 AS low, l.pid, l.mode OPERATOR(pg_catalog.=) 'ShareLock'::pg_catalog.text AS shared,
  l.classid::pg_catalog.int8 OPERATOR(pg_catalog.#) l.objid::pg_catalog.int8 AS fold
 FROM pg_catalog.pg_locks AS l
 WHERE NOT pg_catalog.pg_is_in_recovery() AND l.locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text AND l.objsubid OPERATOR(pg_catalog.=) 1::pg_catalog.int2 AND l.granted
 AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d
  WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
), edge AS MATERIALIZED (
 SELECT h.high, h.low, h.pid FROM held AS h WHERE h.shared
 AND (h.high OPERATOR(pg_catalog.=) ANY (SELECT k.fold FROM held AS k)) IS TRUE
 AND (h.low OPERATOR(pg_catalog.=) ANY (SELECT k.fold FROM held AS k)) IS TRUE
)
SELECT e.high, e.low, e.pid, a.application_name
 FROM edge AS e LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) e.pid
UNION
SELECT h.fold, (h.high OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) h.low, NULL, NULL FROM held AS h
 WHERE (h.fold OPERATOR(pg_catalog.=) ANY (SELECT e.high FROM edge AS e)) IS TRUE`

// look asks the server for the edges of all processes.
func look(ctx context.Context, questions *pg.Questions) (*view, error) {
	rows, err := questions.Ask(ctx, "looking for a deadlock", marksSQL)
	if err != nil {
		return nil, err
	}
	v := &view{marks: make(map[mark]bool), applications: make(map[uint32]string), keys: make(map[uint32][]int64)}
	for _, row := range rows {
		var n [3]int64
		for i, text := range row[:3] {
			if text == "" {
				continue
			}
			if n[i], err = strconv.ParseInt(text, 10, 64); err != nil {
				return nil, fmt.Errorf("the server answers %q: %w", row, err)
			}
		}
		if row[2] == "" {
			v.keys[uint32(n[0])] = append(v.keys[uint32(n[0])], n[1])
			continue
		}
		v.marks[mark{edge{uint32(n[0]), uint32(n[1])}, uint32(n[2])}] = true
		v.applications[uint32(n[2])] = row[3]
	}
	return v, nil
}
