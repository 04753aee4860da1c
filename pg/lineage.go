package pg

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// lineage is whose history a server writes: the cluster, and within it the timeline, which every promotion counts up. The
// zero value is not known: some services do not tell.
type lineage struct {
	system   string
	timeline uint32
}

// A timeline does not change while a server runs, so that asking once a session is enough. pg_walfile_name gives it right
// after a promotion, when pg_control_checkpoint does not yet.
const lineageSQL = `SELECT pg_catalog.concat((SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c), ' ',
 pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))`

// deposedError: a standby of that server has been promoted, and locks are granted there since.
type deposedError struct{ timeline, latest uint32 }

func (e *deposedError) Error() string {
	return fmt.Sprintf("an old primary answered: it is on timeline %d of its cluster, which went on to timeline %d when a "+
		"standby was promoted; stop it, or make it a standby (after going back to an old backup on purpose: restart this "+
		"program)", e.timeline, e.latest)
}

func askLineage(ctx context.Context, conn *pgconn.PgConn) (lineage, error) {
	text, err := queryText(ctx, conn, lineageSQL)
	if err != nil {
		if conn.IsClosed() {
			return lineage{}, fmt.Errorf("asking for the server's timeline: %w", err)
		}
		return lineage{}, nil // a standby, a service that hides it, a missing right: it is not known then
	}
	words := strings.Fields(text)
	if len(words) != 2 {
		return lineage{}, nil
	}
	timeline, err := strconv.ParseUint(words[1], 16, 32)
	if err != nil {
		return lineage{}, nil //nolint:nilerr // likewise
	}
	return lineage{system: words[0], timeline: uint32(timeline)}, nil
}

// before reports whether l is an older part of the same history than other.
func (l lineage) before(other lineage) bool {
	return l.system != "" && l.system == other.system && l.timeline < other.timeline
}

// current refuses a server that has been deposed: one whose cluster was seen on a later timeline. Where the DSN has other
// hosts the next one is tried.
func (p *Pool) current(ctx context.Context, conn *pgconn.PgConn) error {
	l, err := askLineage(ctx, conn)
	if err != nil || l.system == "" {
		return err
	}
	for {
		seen := p.lineage.Load()
		if seen != nil && l.before(*seen) {
			return &deposedError{l.timeline, seen.timeline}
		}
		if seen != nil && *seen == l || p.lineage.CompareAndSwap(seen, &l) {
			return nil
		}
	}
}

// checkedSource can try its next host where a connection does not pass a check.
type checkedSource interface {
	connectChecked(ctx context.Context, check func(context.Context, *pgconn.PgConn) error) (*pgconn.PgConn, error)
}

// dial gets a connection to a server that has not been deposed.
func (p *Pool) dial(ctx context.Context) (*pgconn.PgConn, error) {
	if s, ok := p.source.(checkedSource); ok {
		return s.connectChecked(ctx, p.current)
	}
	conn, err := p.source.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.current(ctx, conn); err != nil {
		closeConn(conn, p.config.CloseTimeout)
		return nil, err
	}
	return conn, nil
}

// depose gives up the sessions of a primary whose standby has been promoted: another session of ours is there already.
// It is the owner's.
func (p *Pool) depose(newest lineage) {
	for s := range p.sessions {
		if s.lineage.before(newest) {
			s.deposedBy.Store(&newest)
			s.signal(signalDeposed)
		}
	}
}
