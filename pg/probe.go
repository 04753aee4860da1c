package pg

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	probeRounds = 3 // of the pooler probe: each compares what four connections reach with what they reached before
	probePeers  = 3
)

// The questions of a probe. Each is one value.
const (
	// volatile is true. A proxy that balances reads over standbys, as pgpool-II does, sends a statement with a volatile function to the primary, as
	// it does with those of locks.
	volatile   = "pg_catalog.pg_is_in_recovery() IS NOT NULL"
	versionSQL = "SELECT pg_catalog.version()"
	pidSQL     = "SELECT pg_catalog.concat(pg_catalog.pg_backend_pid()) WHERE " + volatile
	// Its bytes in hex, as they are at the server: a client asks for a database by its bytes, whatever their encoding is.
	databaseSQL = "SELECT pg_catalog.encode(" + databaseBytes + ", 'hex'::pg_catalog.text)"
	// databaseBytes is the name as bytes. What encode makes of them is ASCII, which client_encoding leaves as it is.
	databaseBytes = "pg_catalog.convert_to(pg_catalog.current_database()::pg_catalog.text, pg_catalog.getdatabaseencoding())"
	recoverySQL   = "SELECT pg_catalog.concat(pg_catalog.pg_is_in_recovery())"
	readOnlySQL   = "SELECT pg_catalog.current_setting('transaction_read_only') WHERE " + volatile
	// The same text whatever the session's settings are: it is asked before they are ours, and after.
	backendSQL = "SELECT pg_catalog.concat(pg_catalog.pg_backend_pid(), ' ', pg_catalog.to_char(pg_catalog.timezone('UTC', " +
		"pg_catalog.pg_postmaster_start_time()), 'YYYY-MM-DD HH24:MI:SS.US')) WHERE " + volatile
	tryXactSQL = "SELECT pg_catalog.concat(pg_catalog.pg_try_advisory_xact_lock($1::pg_catalog.int8))"
	trySQL     = "SELECT pg_catalog.concat(pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8))"
	unlockSQL  = "SELECT pg_catalog.concat(pg_catalog.pg_advisory_unlock($1::pg_catalog.int8))"
)

// probe makes sure that this server, and what stands before it, keeps locks, and returns a connection that is set up. It
// looks at what they do, not at what they are called; only where a look-alike is known to answer true and lock nothing does
// its name decide. It is called once, before anything else is opened.
func (c *connector) probe(ctx context.Context) (*connection, error) {
	return c.attempt(ctx, func(ctx context.Context, a *attempt) (*connection, error) {
		p := &prober{connector: c, attempt: a}
		defer p.closePeers()
		conn, err := p.run(ctx)
		return conn, lackOf(err)
	})
}

// prober is one probe. Its goroutine is the attempt's; the peers are opened and asked in parallel.
type prober struct {
	connector *connector
	attempt   *attempt
	first     *wire // becomes the first session
	peers     []*wire
	sought    []sought // by which the backend of an abandoned peer is looked for
	backends  []string // what each connection reached, the first one before its peers; "" before it was asked
}

func (p *prober) run(ctx context.Context) (conn *connection, err error) {
	if p.first, err = p.connector.obtain(ctx, p.attempt, anything); err != nil {
		return nil, err
	}
	defer func() {
		if conn == nil {
			p.first.hangUp()
		}
	}()
	proxied, err := p.look(ctx)
	if err != nil {
		return nil, err
	}
	s := p.connector.newSetUp(p.first)
	if err := s.scope.probe(p, ctx, s, proxied); err != nil {
		return nil, err
	}
	p.connector.database = s.identity.database
	return p.first.handOver(s)
}

func anything(context.Context, *wire) error { return nil }

// look asks what leaves nothing behind, and reports whether a proxy stands between.
func (p *prober) look(ctx context.Context) (proxied bool, err error) {
	version, pid, database := ask(versionSQL), ask(pidSQL), ask(databaseSQL)
	recovery, backend := ask(recoverySQL), ask(backendSQL)
	commands := slices.Concat(p.first.rollback(), together(version, pid, database, recovery, backend))
	if err := p.first.exchange(ctx, "looking at the server", commands...); err != nil {
		return false, err
	}
	if err := checkVersion(version); err != nil {
		return false, err
	}
	number, err := pid.text()
	if err != nil {
		return false, err
	}
	if err := p.connector.checkDatabase(database); err != nil {
		return false, err
	}
	switch standby, err := recovery.text(); {
	case err != nil:
		return false, err
	case standby != "f":
		return false, errStandby
	}
	if backend.err != nil {
		return false, backend.err
	}
	reached, err := backend.text()
	p.backends = []string{reached}
	return number != strconv.FormatUint(uint64(p.first.pid), 10), err
}

// open gets the peers, all at once.
func (p *prober) open(ctx context.Context, n int) error {
	p.peers = make([]*wire, n)
	p.backends = append(p.backends, make([]string, n)...)
	return each(n, func(i int) (err error) {
		p.peers[i], err = p.connector.obtain(ctx, p.attempt, anything)
		return err
	})
}

func (p *prober) closePeers() {
	for _, peer := range p.peers {
		peer.hangUp()
	}
}

// reached compares what a connection reaches with what it reached before, and with what the others reach.
func (p *prober) reached(connection int, answer *command) error {
	backend, err := answer.text()
	if err != nil {
		return err
	}
	for i, other := range p.backends {
		if i == connection && other != "" && backend != other || i != connection && backend == other {
			return unsafeBecause("%s", p.connector.config.scope.cure)
		}
	}
	p.backends[connection] = backend
	return nil
}

const poolerCure = "a proxy that pools by transaction or statement stands between: each statement may run in another " +
	"session, so a lock is nobody's; connect to PostgreSQL directly, or through a pool in session mode, or open with " +
	"WithTransactionPooler, where each session keeps a transaction open and a server connection of the pooler's: 20 a process, more with " +
	"WithDedicatedSession, and WithMaxSessions at most" + balanceCure

// balanceCure ends what an error says where a proxy may have sent a statement to a standby.
const balanceCure = "; a proxy must not balance reads over standbys (pgpool-II: load_balance_mode = off)"

// lackOf finds the servers that speak PostgreSQL's protocol and have no such locks, Aurora DSQL among them.
func lackOf(err error) error {
	server, ok := asType[*pgconn.PgError](err)
	if !ok || errors.Is(err, ErrUnsafe) {
		return err
	}
	// What fails at the log-in, or in a function of the user's, says nothing about locks.
	_, ours := asType[*ConnectError](err)
	if _, login := asType[*pgconn.ConnectError](err); login || ours {
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

func checkVersion(c *command) error {
	version, err := c.text()
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

func checkReadOnly(c *command) error {
	readOnly, err := c.text()
	if err != nil {
		return err
	}
	if readOnly != "off" {
		return unsafeBecause("the server is read-only (default_transaction_read_only is on): that is how a demoted or a " +
			"replicated server looks; connect to the primary, or switch it off for this role" + balanceCure)
	}
	return nil
}

// checkDatabase makes sure that the locks will lie where they are expected.
func (c *connector) checkDatabase(answer *command) error {
	text, err := answer.text()
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return unsafeBecause("the server does not say which database answers")
	}
	name := string(raw)
	expected := c.config.Database
	if named, ok := c.source.(interface{ database() string }); ok && expected == "" {
		expected = named.database()
	}
	if expected != "" && name != expected {
		return unsafeBecause("the database %q was asked for and %q answers: a proxy has another name for it, and programs that "+
			"reach them by different ways would not exclude each other; ask for it by its own name, or say by WithDatabase "+
			"that this is the one", expected, name)
	}
	return nil
}
