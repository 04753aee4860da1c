package pg

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// scope says what a session lives in: a connection that reaches one backend for as long as it is open, or one transaction that stays open,
// during which a pooler in transaction mode keeps the backend for it. All that differs between the two is in its fields. It does not change.
type scope struct {
	// statuses of the transaction that an answer may end with: the first one after success, the others after an error.
	statuses string
	// names of the setting by which the server ends a silent session.
	lease string
	// required says that a session is refused whose server does not take the lease.
	required bool
	settings func(*Config) []setting
	// setSQL and applicationSQL make the settings, for the session or for the transaction.
	setSQL, applicationSQL string
	// resets says that a connection which somebody else has used is reset, so that statements of ours are not to be found in it.
	resets bool
	begin  []string // sent first
	// clean is sent next where somebody else has used the connection, and removes what may be left in the session: locks, role, settings,
	// LISTEN, temporary tables, prepared statements. The settings go back to what they were when the connection was made; the role to its own,
	// which DISCARD ALL does not do; and the encoding is ours before a name is said, as a source of ours asks for it at the log-in.
	clean  []string
	opened []string // sent when the settings are made
	// back returns a transaction that has failed to where it can go on, and releases what a statement has locked in the system catalogs.
	back []string
	// again is the same as messages, to be put before a statement or behind it; backSQL is its text.
	again   []byte
	backSQL string
	// done ends each statement: a portal that is left open in a transaction keeps its snapshot.
	done []byte
	// fresh has the next statement see the server's activity as it is: a transaction sees it as it was when it first looked. anew is the same
	// as messages.
	fresh []string
	anew  []byte
	// prepares are the statements of every session.
	prepares []*statement
	// end ends the session in good order, and leaves the backend as it was; goodbye is the same as one message flow.
	end     func() []*command
	goodbye []byte
	// firstFailure is why a flight that sets a session up has failed, where whatever follows a failure fails as well. err is the exchange's.
	firstFailure func(w *wire, err error, commands []*command) error
	probe        func(p *prober, ctx context.Context, s *setUp, proxied bool) error
	// cure is what an error says where a proxy does not keep the backend.
	cure string
	// advice is what to do about the last word of a pooler that ends a session by a limit of its own.
	advice map[string]string
	// slow is added to what was not answered while a session was opened.
	slow string
}

// connectionScope is that of a session which has its backend as long as it is connected.
var connectionScope = &scope{
	statuses: "I", lease: "idle_session_timeout", settings: (*Config).settings,
	setSQL: setSQL, applicationSQL: applicationSQL,
	resets: true, clean: []string{"DISCARD ALL", "RESET ROLE", "SET client_encoding TO 'UTF8'"}, prepares: statements,
	end: func() []*command { return nil }, firstFailure: func(_ *wire, err error, _ []*command) error { return err },
	probe: func(p *prober, ctx context.Context, s *setUp, proxied bool) error {
		if proxied { // somebody stands between: it may be one that keeps sessions whole, or not
			return p.probeProxy(ctx, s)
		}
		return p.probeDirect(ctx, s)
	},
	cure: poolerCure,
}

// scopes are chosen by Config.InTransaction.
var scopes = map[bool]*scope{false: connectionScope, true: transactionScope}

const backSQL = "ROLLBACK TO SAVEPOINT lockkeeper"

// backStatement is prepared, since a statement that is on its way when the one before it fails is sent again behind it.
var backStatement = statement{"lockkeeper_back", backSQL, nil}

const freshSQL = "SELECT pg_catalog.pg_stat_clear_snapshot()"

// freshStatement is put before statements that look at the server's activity.
var freshStatement = statement{"lockkeeper_fresh", freshSQL, nil}

// transactionScope is that of a session which lives in one transaction. PostgreSQL lets a read-only one take advisory locks, and one of
// isolation level READ COMMITTED has no snapshot while it is idle. A session's locks are not the transaction's: the return to the savepoint
// releases none of them, so they are released before it ends. The prepared statements are closed by messages of the protocol, by which a
// pooler knows them too.
var transactionScope = newTransactionScope()

func newTransactionScope() *scope {
	s := &scope{
		statuses: "TE", lease: "idle_in_transaction_session_timeout", required: true, settings: (*Config).localSettings,
		setSQL: localSetSQL, applicationSQL: localApplicationSQL,
		begin:  []string{"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"},
		clean:  []string{"SET LOCAL ROLE NONE", "SET LOCAL client_encoding TO 'UTF8'"},
		opened: []string{unlockAllSQL, "SAVEPOINT lockkeeper"}, back: []string{backSQL}, backSQL: backSQL + "; ", fresh: []string{freshSQL},
		prepares:     append([]*statement{&backStatement, &freshStatement}, statements...),
		firstFailure: firstFailure,
		probe:        func(p *prober, ctx context.Context, s *setUp, _ bool) error { return p.probeTransaction(ctx, s) },
		cure:         statementCure,
		advice: map[string]string{
			"idle transaction timeout": " (the pooler's idle_transaction_timeout must be longer than the interval of WithHealth)",
			"transaction timeout":      " (the pooler's transaction_timeout must be 0: a session lives in one transaction)",
			"query timeout":            " (the pooler's query_timeout must be longer than the interval of WithHealth)",
		},
		slow: " (WithTransactionPooler: each session needs a server connection of the pooler's, which may have none to spare: a larger " +
			"pool, or less by WithMaxSessions)",
	}
	s.end = func() []*command {
		commands := []*command{ask(backSQL)}
		for _, statement := range s.prepares {
			commands = append(commands, &command{close: statement})
		}
		return append(commands, ask(unlockAllSQL), ask("COMMIT"))
	}
	var err error
	if s.goodbye, err = encodeCommands(together(s.end()...)); err != nil {
		panic("BUG: " + err.Error()) // constants are encoded
	}
	bind := func(to *statement) *pgproto3.Bind { return &pgproto3.Bind{PreparedStatement: to.name} }
	s.again, s.anew = inBytes(bind(&backStatement), &pgproto3.Execute{}), inBytes(bind(&freshStatement), &pgproto3.Execute{})
	s.done = inBytes(&pgproto3.Close{ObjectType: 'P'})
	return s
}

// inBytes writes messages that are constants.
func inBytes(messages ...pgproto3.FrontendMessage) (out []byte) {
	for _, m := range messages {
		var err error
		if out, err = m.Encode(out); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	return out
}

func firstFailure(w *wire, err error, commands []*command) error {
	switch {
	case refusesTransactions(err):
		return unsafeBecause(statementCure)
	case err != nil:
		return err
	}
	for _, c := range commands {
		switch {
		case c.err == nil || c.optional:
		case refusesTransactions(c.err):
			return unsafeBecause(statementCure)
		default:
			return fmt.Errorf("beginning the transaction that the session lives in (%s): %w", c.label(), c.err)
		}
	}
	if w.status != 'T' {
		return unsafeBecause(statementCure)
	}
	return nil
}

const statementCure = "a proxy stands between that does not keep a transaction on one backend, as one that pools by statement; " +
	"connect to PostgreSQL directly, or through a pool in session or transaction mode"

const unlockAllSQL = "SELECT pg_catalog.pg_advisory_unlock_all()"

// mayEnd reports whether an answer may end with this status of the transaction. A nil scope is that of a connection.
func (s *scope) mayEnd(status byte, failed bool) bool {
	if s == nil {
		s = connectionScope
	}
	at := strings.IndexByte(s.statuses, status)
	return at == 0 || at > 0 && failed
}

// behind is what follows a statement. A nil scope is that of a connection.
func (s *scope) behind() []byte {
	if s == nil {
		return nil
	}
	return s.done
}

// asked are the commands of these texts.
func asked(texts []string) []*command {
	commands := make([]*command, len(texts))
	for i, text := range texts {
		commands[i] = ask(text)
	}
	return commands
}

// leave ends the session in good order where there is more to it than hanging up. It does not wait for long.
func (w *wire) leave(s *scope) {
	if end := s.end(); len(end) > 0 && !w.broken {
		ctx, cancel := context.WithTimeout(context.Background(), lateBound) //nolint:forbidigo // the end of a connection whose user has gone
		defer cancel()
		_ = w.exchange(ctx, "ending the session", end...) // a failure ends the connection, and the backend by that
	}
	w.hangUp()
}
