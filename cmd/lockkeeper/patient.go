package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/manager"
	"github.com/lockkeeper/lockkeeper/pg"
)

// patient is a server that the doctor looks at, by a connection of the doctor's own and by a manager.
type patient struct {
	diagnosis
	database
	cmd    *cobra.Command
	conn   *pgconn.PgConn
	number int // the server's version, as server_version_num
	proxy  bool
}

const (
	connectBound = 15 * time.Second
	askingBound  = 30 * time.Second
)

// examine makes all checks, as far as they can be made.
func (d *database) examine(cmd *cobra.Command) (*diagnosis, error) {
	p := &patient{database: *d, cmd: cmd}
	p.Serves = true
	if _, err := d.function(cmd); err != nil {
		return nil, err
	}
	dsn, where, err := resolveDSN(cmd, d.dsn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), askingBound)
	defer cancel()
	if !p.connect(ctx, dsn, where) {
		for _, name := range []string{"server", "primary", "pooler", "locks", "role", "settings", "lock table", "connections"} {
			p.skip(name, "no connection")
		}
		return &p.diagnosis, nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
		defer cancel()
		_ = p.conn.Close(ctx)
		select { // until its goroutines have ended, too
		case <-p.conn.CleanupDone():
		case <-ctx.Done():
		}
	}()
	p.checkServer(ctx)
	p.checkPrimary(ctx)
	stats := p.checkLocks(ctx) // the pooler's verdict, too
	p.checkRole(ctx)
	p.checkSettings(ctx, stats)
	p.checkLockTable(ctx)
	p.checkConnections(ctx)
	return &p.diagnosis, nil
}

// ask returns the columns of one row, as text. It uses no prepared statement, which a pooler may not keep.
func (p *patient) ask(ctx context.Context, sql string) ([]string, error) {
	results, err := p.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, errors.New("the server does not answer by one row")
	}
	row := make([]string, len(results[0].Rows[0]))
	for i, column := range results[0].Rows[0] {
		row[i] = string(column)
	}
	return row, nil
}

// connect logs in.
func (p *patient) connect(ctx context.Context, dsn, where string) bool {
	const name = "connection"
	source, err := pg.FromDSN(dsn)
	if err != nil {
		p.fail(name, "by "+where+": "+err.Error(), "a connection string looks like postgres://user@host:5432/database or like host=... user=... dbname=...")
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, connectBound)
	defer cancel()
	if p.conn, err = source.Connect(ctx); err != nil {
		p.fail(name, "by "+where+": "+oneLine(err)+passwordHint(dsn, err), remedyOf(err))
		return false
	}
	trip := connectBound // the quickest of some, since the machine may be busy
	for range 10 {
		began := time.Now()
		if _, err := p.ask(ctx, "SELECT 1"); err != nil {
			p.fail(name, "by "+where+": "+oneLine(err), "the server or a proxy accepts connections and no statements: look into its log")
			return false
		}
		trip = min(trip, time.Since(began).Round(10*time.Microsecond))
	}
	encrypted := "no TLS"
	if _, ok := p.conn.Conn().(*tls.Conn); ok {
		encrypted = "TLS"
	}
	row, err := p.ask(ctx, "SELECT current_database(), current_user")
	if err != nil {
		row = []string{"?", "?"}
	}
	detail := fmt.Sprintf("by %s: database %q as %q at %s, %s, %v a round trip", where, row[0], row[1], p.conn.Conn().RemoteAddr(), encrypted, trip)
	const far = 20 * time.Millisecond
	if trip > far {
		p.warn(name, detail, "each lock takes a round trip or two: run the programs near the server")
	} else {
		p.ok(name, "%s", detail)
	}
	return true
}

// insufficientPrivilege is the SQLSTATE of a right that is missing.
const insufficientPrivilege = "42501"

func oneLine(err error) string { return strings.Join(strings.Fields(trimName(err.Error())), " ") }

// remedyOf says what to do about a failed log-in.
func remedyOf(err error) string {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case server.Code == "28P01", server.Code == "28000":
			return "check the user and the password, or pg_hba.conf"
		case server.Code == "3D000":
			return "check the name of the database"
		case server.Code == insufficientPrivilege:
			return "GRANT CONNECT ON DATABASE ... TO this role"
		case strings.HasPrefix(server.Code, "53"):
			return "the server has no free connection: close some, or raise max_connections"
		case strings.HasPrefix(server.Code, "57P"):
			return "the server starts or stops: try again"
		}
		return "the text is the server's or the pooler's own: look into its log"
	}
	return "is the server running, are host and port right, does a firewall stand between?"
}

// checkServer looks at the version. Whether the server is what it says is found out by its locks.
func (p *patient) checkServer(ctx context.Context) {
	const name = "server"
	row, err := p.ask(ctx, "SELECT version(), current_setting('server_version_num')")
	if err != nil {
		p.fail(name, oneLine(err), "this does not answer as PostgreSQL does")
		return
	}
	p.number, _ = strconv.Atoi(row[1])
	version, _, _ := strings.Cut(row[0], " on ")
	const oldest, complete = 130000, 140000
	switch {
	case !strings.HasPrefix(version, "PostgreSQL "):
		p.warn(name, version, "this is not PostgreSQL itself: see the check of its locks")
	case p.number < oldest:
		p.fail(name, version, "PostgreSQL 13 is the oldest that is meant to work")
	case p.number < complete:
		p.warn(name, version+": it has no idle_session_timeout", "a frozen process keeps its locks until it is killed: prefer PostgreSQL 14 or later")
	default:
		p.ok(name, "%s", version)
	}
}

func (p *patient) checkPrimary(ctx context.Context) {
	const name = "primary"
	row, err := p.ask(ctx, "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')")
	switch {
	case err != nil:
		p.skip(name, oneLine(err))
	case row[0] == "t":
		p.fail(name, "this is a standby, whose locks exclude nobody on the primary", "connect to the primary, or list several hosts with target_session_attrs=read-write")
	case row[1] == "on":
		p.fail(name, "transactions are read-only here", "connect to the primary; or take default_transaction_read_only off the role or the database")
	default:
		p.ok(name, "it takes writes")
	}
}

// checkLocks opens a manager, which probes the server and what stands before it, and takes a lock.
func (p *patient) checkLocks(ctx context.Context) (stats *manager.Stats) {
	const pooler, name = "pooler", "locks"
	const poolerRemedy = "connect to the server itself, or through a pool in session mode (PgBouncer: pool_mode=session)"
	const pooledRemedy = "--transaction-pooler, in programs WithTransactionPooler; or " + poolerRemedy
	if row, err := p.ask(ctx, "SELECT concat(pg_backend_pid())"); err == nil {
		p.proxy = row[0] != strconv.FormatUint(uint64(p.conn.PID()), 10)
	}
	m, err := p.open(ctx, p.cmd, "lockkeeper doctor")
	if err != nil {
		unsafe := errors.Is(err, manager.ErrUnsafe)
		switch {
		case unsafe && p.proxy && !p.pooled && p.servesPooled(ctx):
			p.fail(pooler, "one in transaction mode stands between: its sessions serve only inside of transactions", pooledRemedy)
			p.fail(name, oneLine(err), pooledRemedy)
		case unsafe && p.proxy:
			p.fail(pooler, "a pooler or proxy stands between, and does not keep sessions whole", poolerRemedy)
			p.fail(name, oneLine(err), poolerRemedy)
		case unsafe:
			p.ok(pooler, "none")
			p.fail(name, oneLine(err), "see docs/poolers.md: another server, or another way to it, is needed")
		default:
			p.skip(pooler, "not found out")
			remedy := remedyOf(err)
			if server, ok := errors.AsType[*pgconn.PgError](err); ok && server.Code == insufficientPrivilege { // it could connect
				remedy = "GRANT this role what the text names"
			}
			p.fail(name, oneLine(err), remedy)
		}
		return nil
	}
	defer func() { _ = closeManager(ctx, m) }()
	if p.proxy && p.pooled {
		p.ok(pooler, "one stands between, and keeps the transaction that a session lives in on one backend")
	} else if p.proxy {
		p.ok(pooler, "one stands between, and keeps each client's session whole")
	} else {
		p.ok(pooler, "none")
	}
	if err := p.tryLock(ctx, m); err != nil {
		p.fail(name, oneLine(err), "see the text; docs/errors.md explains each error")
	}
	s := m.Stats()
	return &s
}

// servesPooled reports whether sessions inside of transactions would serve.
func (p *patient) servesPooled(ctx context.Context) bool {
	pooled := p.database
	pooled.pooled = true
	m, err := pooled.open(ctx, p.cmd, "lockkeeper doctor")
	if err != nil {
		return false
	}
	_ = closeManager(ctx, m)
	return true
}

// tryLock takes a lock that nobody else has, sees it, and has it refused to another manager.
func (p *patient) tryLock(ctx context.Context, m *manager.Manager) error {
	key := "lockkeeper doctor " + rand.Text()
	began := time.Now()
	lock, err := m.TryAcquire(ctx, key)
	took := time.Since(began)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release(context.WithoutCancel(ctx)) }()
	locks, err := m.Locks(ctx)
	if err != nil {
		return err
	}
	id := m.Key(key).ID()
	if !slices.ContainsFunc(locks, func(l manager.LockInfo) bool { return l.ID == id && len(l.Holders) == 1 }) {
		return fmt.Errorf("a lock was granted, and the server does not list it (id %d)", id)
	}
	other, err := p.open(ctx, p.cmd, "lockkeeper doctor")
	if err != nil {
		return err
	}
	defer func() { _ = closeManager(ctx, other) }()
	if _, err := other.TryAcquire(ctx, key); !errors.Is(err, manager.ErrNotAcquired) {
		return fmt.Errorf("a second session was not refused the lock: %w", err)
	}
	if err := lock.Release(ctx); err != nil {
		return err
	}
	p.ok("locks", "taken in %v, seen, refused to a second session, released", took.Round(10*time.Microsecond))
	return nil
}
