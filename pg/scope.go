package pg

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// scope says what a session lives in: a connection that reaches one backend for as long as it is open, or a transaction that is always open,
// during which a pooler in transaction mode keeps the backend for it. All that differs between the two is in its fields. It does not change.
type scope struct {
	// statuses of the transaction that an answer may end with: the first one after success, the others after an error.
	statuses string
	settings []setting
	// setSQL and applicationSQL make the settings, for the session or for the transaction.
	setSQL, applicationSQL string
	// lease names the setting by which the server ends a silent session.
	lease string
	// required says that a session is refused whose server does not take the lease.
	required bool
	// resets says that a connection which somebody else has used is reset, so that statements of ours are not to be found in it.
	resets bool
	begin  []string // sent first
	// clean is sent next where somebody else has used the connection, and removes what may be left in the session: locks, role, settings,
	// LISTEN, temporary tables, prepared statements. The settings go back to what they were when the connection was made; the role to its own,
	// which DISCARD ALL does not do; and the encoding is ours before a name is said, as a source of ours asks for it at the log-in.
	clean    []string
	opened   []string     // sent when the settings are made
	prepares []*statement // of every session
	// renew replaces the transaction by another, in which the settings are made again.
	renew func() []*command
	// outside has commands that are a transaction of their own done without the session's: it is ended before, and another begins after. They have to
	// be one flight, so that a pooler does not see that there was none for a moment.
	outside func(commands []*command) []*command
	// again is the same as messages: before a statement that may be the first since one has failed, and behind one of which something is to
	// end that ends with a transaction. beforeWait and afterWait are the same as text.
	again                 []byte
	beforeWait, afterWait string
	// done ends each statement: a portal that is left open in a transaction keeps its snapshot.
	done []byte
	// end ends the session in good order, and leaves the backend as it was; goodbye is the same as messages.
	end     func() []*command
	goodbye []byte
	// firstFailure is why a flight that sets a session up has failed, where whatever follows a failure fails as well. err is the exchange's.
	firstFailure func(w *wire, err error, commands []*command) error
	probe        func(p *prober, ctx context.Context, s *setUp, proxied bool) error
	// cure is what an error says where a proxy does not keep the backend.
	cure string
	// keeps is the error where a proxy keeps the locks of a client that has gone.
	keeps error
	// advice is what to do about the last word of a pooler that ends a session by a limit of its own.
	advice map[string]string
	// slow is added to what was not answered while a session was opened.
	slow string
}

// newScope makes the scope of a config's sessions.
func newScope(c *Config) *scope {
	if c.InTransaction {
		return newTransactionScope(c)
	}
	return newConnectionScope(c)
}

// newConnectionScope is that of a session which has its backend as long as it is connected.
func newConnectionScope(c *Config) *scope {
	none := func() []*command { return nil }
	return &scope{
		statuses: connectionStatuses, lease: "idle_session_timeout", settings: c.settings(), setSQL: setSQL, applicationSQL: applicationSQL,
		resets: true, clean: []string{"DISCARD ALL", "RESET ROLE", "SET client_encoding TO 'UTF8'"}, prepares: statements,
		renew: none, outside: func(commands []*command) []*command { return commands }, end: none, firstFailure: func(_ *wire, err error, _ []*command) error { return err },
		probe: func(p *prober, ctx context.Context, s *setUp, proxied bool) error {
			if proxied { // somebody stands between: it may be one that keeps sessions whole, or not
				return p.probeProxy(ctx, s)
			}
			return p.probeDirect(ctx, s)
		},
		cure: poolerCure, keeps: errKeepsLocks,
	}
}

const connectionStatuses = "I"

// chainStatement ends a transaction and begins another like it, at once: a pooler does not see that there was none for a moment. A session's
// locks are not the transaction's, and stay.
var (
	chainStatement = statement{"lockkeeper_chain", "ROLLBACK AND CHAIN", nil}
	renewStatement = statement{"lockkeeper_renew", localSetSQL, []uint32{pgtype.TextArrayOID, pgtype.TextArrayOID}}
)

// newTransactionScope is that of a session which lives in a transaction. PostgreSQL lets a read-only one take advisory locks, and one of isolation
// level READ COMMITTED has no snapshot while it is idle. Who waits for all that have a snapshot, as CREATE INDEX CONCURRENTLY does, waits for the
// end of their transactions: so it is replaced by another with each health question and after each slice of a wait. The locks are released
// before the session ends. Prepared statements are closed by messages of the protocol, by which a pooler knows them too.
func newTransactionScope(c *Config) *scope {
	s := &scope{
		statuses: "TE", lease: "idle_in_transaction_session_timeout", required: true, settings: c.localSettings(), setSQL: localSetSQL,
		begin: []string{"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"}, opened: []string{unlockAllSQL},
		prepares:     append([]*statement{&chainStatement, &renewStatement}, statements...),
		firstFailure: firstFailure,
		probe:        func(p *prober, ctx context.Context, s *setUp, _ bool) error { return p.probeTransaction(ctx, s) },
		cure:         statementCure, keeps: errKeepsTransactionLocks,
		advice: map[string]string{
			"idle transaction timeout": " (the pooler's idle_transaction_timeout must be longer than the interval of WithHealth)",
			"transaction timeout":      " (the pooler's transaction_timeout must be 0: a session is always in a transaction)",
			"query timeout":            " (the pooler's query_timeout must be longer than the interval of WithHealth)",
		},
		slow: " (WithTransactionPooler: each session needs a server connection of the pooler's, which may have none to spare: a larger " +
			"pool, or less by WithMaxSessions)",
	}
	s.renew = func() []*command {
		set := ask(localSetSQL, names(s.settings), values(s.settings))
		set.closes = true
		return []*command{ask(chainStatement.sql), set}
	}
	s.outside = func(commands []*command) []*command {
		before, after := []*command{ask("ROLLBACK")}, append(asked(s.begin), ask(localSetSQL, names(s.settings), values(s.settings)))
		return slices.Concat(before, commands, after)
	}
	s.end = func() []*command {
		commands := []*command{ask(chainStatement.sql)}
		for _, statement := range s.prepares {
			commands = append(commands, &command{close: statement})
		}
		return append(commands, ask(unlockAllSQL), ask("COMMIT"))
	}
	var err error
	if s.goodbye, err = encodeCommands(together(s.end()...)); err != nil {
		panic("BUG: " + err.Error()) // constants are encoded
	}
	s.done = inBytes(&pgproto3.Close{ObjectType: 'P'})
	s.again = append(inBytes(&pgproto3.Bind{PreparedStatement: chainStatement.name}, &pgproto3.Execute{},
		&pgproto3.Bind{PreparedStatement: renewStatement.name, Parameters: [][]byte{names(s.settings), values(s.settings)}},
		&pgproto3.Execute{}), s.done...)
	again := chainStatement.sql + "; " + strings.NewReplacer("$1", literal(names(s.settings)), "$2", literal(values(s.settings))).Replace(localSetSQL)
	s.beforeWait, s.afterWait = again+"; ", "; "+again
	return s
}

// literal is a text as SQL has it, whatever standard_conforming_strings is.
func literal(text []byte) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(string(text)) + "'"
}

// inBytes writes messages. Their sizes are bounded by those of settings.
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
	case poolsStatements(err):
		return unsafeBecause(statementCure)
	case err != nil:
		return err
	}
	for _, c := range commands {
		switch {
		case c.err == nil || c.optional:
		case poolsStatements(c.err):
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

// poolsStatements reports what PgBouncer in statement mode says to BEGIN. It uses the code for whatever else it cannot do as well, which may pass.
func poolsStatements(err error) bool {
	server, ok := asType[*pgconn.PgError](err)
	return ok && server.Code == "08P01" && strings.Contains(server.Message, "statement pooling")
}

const statementCure = "a proxy stands between that does not keep a transaction on one backend, as one that pools by statement; " +
	"connect to PostgreSQL directly, or through a pool in session or transaction mode" + balanceCure

const unlockAllSQL = "SELECT pg_catalog.pg_advisory_unlock_all()"

// mayEnd reports whether an answer may end with this status of the transaction.
func (s *scope) mayEnd(status byte, failed bool) bool {
	at := strings.IndexByte(s.statuses, status)
	return at == 0 || at > 0 && failed
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
