package pg

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	probeRounds = 4 // of the pooler probe; one transaction-mode proxy in 180 was missed by none of them
	probePeers  = 3
)

// probe refuses a server or proxy that cannot keep a lock safe. It looks at what they do, not at what they are called;
// only where a look-alike is known to answer true and lock nothing does its name decide.
func (p *Pool) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*p.config.ConnectTimeout)
	defer cancel()
	first, err := p.probeConn(ctx)
	if err != nil {
		return err
	}
	defer closeConn(first, p.config.CloseTimeout)
	if err := probeVersion(ctx, first); err != nil {
		return connectError(err, "")
	}
	var peers []*pgconn.PgConn
	defer func() {
		for _, peer := range peers {
			closeConn(peer, p.config.CloseTimeout)
		}
	}()
	pid, err := queryText(ctx, first, "SELECT pg_catalog.concat(pg_catalog.pg_backend_pid())")
	if err != nil {
		return connectError(err, "")
	}
	want := 1
	proxied := pid != strconv.FormatUint(uint64(first.PID()), 10)
	if proxied { // somebody stands between: it may be one that keeps sessions whole, or not
		want = probePeers
	} else if err := p.set(ctx, first); err != nil { // or the role's own limits may end it before the others are there
		return connectError(err, "")
	}
	if err := p.probeServer(ctx, first); err != nil {
		return connectError(err, "")
	}
	for range want {
		peer, err := p.probeConn(ctx)
		if err != nil {
			return err
		}
		peers = append(peers, peer)
		if proxied { // a setting would stay in the pooler's session
			continue
		}
		if err := p.set(ctx, peer); err != nil {
			return connectError(err, "")
		}
	}
	rounds := 1 // a proxy that passes on a backend's own number looks direct; the look costs little
	if proxied {
		rounds = probeRounds
	}
	for range rounds {
		if err := probePooler(ctx, first, peers); err != nil {
			return connectError(lackOf(err), "")
		}
	}
	if err := probeLocks(ctx, first, peers[0]); err != nil {
		return connectError(lackOf(err), "")
	}
	if proxied {
		// A session that finds this statement there already was handed a backend that nobody had reset; see prepare.
		for _, conn := range append(peers, first) {
			if _, err := conn.Prepare(ctx, tryStatement.name, tryStatement.sql, tryStatement.params); err != nil {
				return connectError(err, "")
			}
		}
	}
	return nil
}

func (p *Pool) probeConn(ctx context.Context) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.ConnectTimeout)
	defer cancel()
	conn, err := p.source.Connect(ctx)
	if err != nil {
		return nil, connectError(err, "")
	}
	return conn, nil
}

func unsafeBecause(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsafe, fmt.Sprintf(format, args...))
}

// lackOf finds the servers that speak PostgreSQL's protocol and have no such locks, Aurora DSQL among them.
func lackOf(err error) error {
	server, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || errors.Is(err, ErrUnsafe) {
		return err
	}
	switch server.Code {
	case "0A000", "42883", "42601": // feature not supported, no such function, syntax error
		return fmt.Errorf("%w: this server has no session advisory locks, or not all of PostgreSQL's functions for them; use "+
			"PostgreSQL: %w", ErrUnsafe, server)
	}
	return err
}

// lookAlikes are servers whose version() tells that they are not PostgreSQL, and why that matters.
var lookAlikes = []struct{ mark, reason string }{
	{"CockroachDB", "CockroachDB's session advisory locks answer true and lock nothing; use PostgreSQL"},
	{"-YB-", "YugabyteDB's advisory locks depend on its version and flags, and outlive timeouts by many seconds; use PostgreSQL"},
}

func probeVersion(ctx context.Context, conn *pgconn.PgConn) error {
	version, err := queryText(ctx, conn, "SELECT pg_catalog.version()")
	if err != nil {
		return err
	}
	for _, other := range lookAlikes {
		if strings.Contains(version, other.mark) {
			return unsafeBecause("%s", other.reason)
		}
	}
	return nil
}

func (p *Pool) probeServer(ctx context.Context, conn *pgconn.PgConn) error {
	if err := p.probeDatabase(ctx, conn); err != nil {
		return err
	}
	standby, err := queryText(ctx, conn, "SELECT pg_catalog.concat(pg_catalog.pg_is_in_recovery())")
	if err != nil {
		return err
	}
	if standby != "f" {
		return unsafeBecause("the server is a standby, whose locks exclude nobody on the primary; connect to the " +
			"primary (target_session_attrs=read-write)")
	}
	readOnly, err := queryText(ctx, conn, "SELECT pg_catalog.current_setting('transaction_read_only')")
	if err != nil {
		return err
	}
	if readOnly != "off" {
		return unsafeBecause("the server is read-only (default_transaction_read_only is on): that is how a demoted or a " +
			"replicated server looks; connect to the primary, or switch it off for this role")
	}
	return nil
}

// probeDatabase makes sure that the locks will lie where they are expected, and notes where that is.
func (p *Pool) probeDatabase(ctx context.Context, conn *pgconn.PgConn) error {
	name, err := queryText(ctx, conn, "SELECT pg_catalog.current_database()")
	if err != nil {
		return err
	}
	expected := p.config.Database
	if named, ok := p.source.(interface{ database() string }); ok && expected == "" {
		expected = named.database()
	}
	if expected != "" && name != expected {
		return unsafeBecause("the database %q was asked for and %q answers: a proxy has another name for it, and programs that "+
			"reach them by different ways would not exclude each other; ask for it by its own name, or say by WithDatabase "+
			"that this is the one", expected, name)
	}
	p.database = name
	return nil
}

const poolerCure = "a proxy that pools by transaction or statement stands between: each statement may run in another " +
	"session, so a lock is nobody's; connect to PostgreSQL directly or through a pool in session mode"

// probePooler looks for a proxy that gives one client's statements to different backends. While each peer keeps a
// transaction open the first connection must still reach the backend that it reached before, and each connection one
// of its own. Transaction locks are used, which leave nothing behind in somebody's pool.
func probePooler(ctx context.Context, first *pgconn.PgConn, peers []*pgconn.PgConn) (err error) {
	const who = "SELECT pg_catalog.concat(pg_catalog.pg_backend_pid(), ' ', pg_catalog.pg_postmaster_start_time())"
	identity, err := queryText(ctx, first, who)
	if err != nil {
		return err
	}
	seen := map[string]bool{identity: true}
	defer func() {
		for _, peer := range peers {
			if _, end := query(ctx, peer, "ROLLBACK"); err == nil && end != nil {
				err = end
			}
		}
	}()
	for _, peer := range peers {
		if _, err := query(ctx, peer, "BEGIN"); err != nil {
			var server *pgconn.PgError
			if errors.As(err, &server) && server.Code == "08P01" {
				return unsafeBecause(poolerCure)
			}
			return err
		}
		theirs, err := queryText(ctx, peer, who)
		if err != nil {
			return err
		}
		again, err := queryText(ctx, first, who)
		if err != nil {
			return err
		}
		if again != identity || seen[theirs] {
			return unsafeBecause(poolerCure)
		}
		seen[theirs] = true
	}
	key := []byte(strconv.FormatInt(rand.Int64(), 10))
	const try = "SELECT pg_catalog.concat(pg_catalog.pg_try_advisory_xact_lock($1::pg_catalog.int8))"
	got, err := queryText(ctx, peers[0], try, key)
	if err != nil {
		return err
	}
	second, err := queryText(ctx, first, try, key)
	if err != nil {
		return err
	}
	if got != "t" || second != "f" {
		return unsafeBecause(poolerCure)
	}
	return nil
}

// probeLocks takes and releases one lock on two sessions and expects what PostgreSQL would answer: a stub says true to
// everybody, and a proxy that resets its sessions after each transaction drops the lock at once.
func probeLocks(ctx context.Context, first, second *pgconn.PgConn) error {
	const (
		try    = "SELECT pg_catalog.concat(pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8))"
		unlock = "SELECT pg_catalog.concat(pg_catalog.pg_advisory_unlock($1::pg_catalog.int8))"
	)
	key := []byte(strconv.FormatInt(rand.Int64(), 10))
	for _, step := range []struct {
		conn *pgconn.PgConn
		sql  string
		want string
		what string
	}{
		{first, try, "t", "a free lock was not granted"},
		{second, try, "f", "a lock that one session holds was granted to another"},
		{first, unlock, "t", "a held lock could not be released"},
		{second, try, "t", "a released lock was not granted"},
		{second, unlock, "t", "a held lock could not be released"},
	} {
		got, err := queryText(ctx, step.conn, step.sql, key)
		if err != nil {
			return err
		}
		if got != step.want {
			return unsafeBecause("advisory locks do not work on this server or through this proxy: %s; a stub, or a reset "+
				"query that runs after every transaction (server_reset_query_always), does so", step.what)
		}
	}
	return nil
}
