package pg

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// setUp makes a logged-in connection a session: it removes what an earlier user left, makes the settings, prepares the
// statements and asks who answers. All of it is one flight, two where the server refuses a setting, or somebody has left a transaction open.
type setUp struct {
	connector *connector
	scope     *scope
	wire      *wire
	settings  []setting
	further   []*command // sent last, in the same flight
	undo      []*command // ends what the further commands have begun

	leftover, set, readBack, history, ask *command
	clean                                 []*command
	prepares                              []*command

	identity identity
	timeline timeline
	asked    time.Time
	taken    []setting
}

func (c *connector) newSetUp(w *wire) *setUp {
	scope := c.config.scope
	s := &setUp{connector: c, scope: scope, wire: w, settings: slices.Clip(scope.settings)}
	if name := c.config.ApplicationName; name != "" && scope.applicationSQL != "" {
		s.settings = append(s.settings, setting{name: "application_name", value: name})
	}
	return s
}

// commands are those of the one flight, in their order.
func (s *setUp) commands() []*command {
	var out []*command
	add := func(to **command, c *command) {
		*to = c
		out = append(out, c)
	}
	out = append(out, asked(s.scope.begin)...)
	if s.wire.used && s.scope.resets { // our statement is there already where a proxy does not reset its sessions: to be seen before it is discarded
		add(&s.leftover, &command{prepare: &tryStatement})
	}
	s.clean = s.wire.clean(s.scope)
	out = append(out, s.clean...)
	add(&s.set, ask(s.scope.setSQL, names(s.settings), values(s.settings)))
	if s.connector.config.ApplicationName == "" && s.scope.applicationSQL != "" {
		out = append(out, ask(s.scope.applicationSQL, []byte(defaultApplication)))
	}
	out = append(out, asked(s.scope.opened)...)
	add(&s.readBack, ask(readBackSQL, names(s.settings)))
	s.prepares = nil
	for _, statement := range s.scope.prepares {
		c := &command{prepare: statement}
		s.prepares = append(s.prepares, c)
		out = append(out, c)
	}
	add(&s.history, &command{sql: timelineSQL, optional: true})
	out = append(out, s.scope.renew()...)
	add(&s.ask, ask(askStatement.sql))
	return out
}

// run does all of it. The further commands go in the same flight, after the session's own.
func (s *setUp) run(ctx context.Context, further ...*command) error {
	s.asked, s.further = time.Now(), further
	rollback, flight := s.wire.rollback(), slices.Concat(s.commands(), further, s.scope.renew())
	s.clean = slices.Concat(rollback, s.clean)
	if len(rollback) > 0 { // by itself: a pooler may take another backend after it
		if err := s.wire.exchange(ctx, "ending the transaction that was left open", rollback...); err != nil {
			return err
		}
	}
	err := s.wire.exchange(ctx, "setting the session up"+s.scope.slow, flight...)
	if err := s.scope.firstFailure(s.wire, err, flight); err != nil {
		return err
	}
	if err := s.checkClean(); err != nil {
		return err
	}
	if err := s.checkSettings(ctx); err != nil {
		return err
	}
	if err := checkPrepared(s.prepares); err != nil {
		return err
	}
	if err := s.checkIdentity(); err != nil {
		return err
	}
	s.timeline = parseTimeline(s.history)
	return s.connector.checkTimeline(s.timeline) // last: only a server that is accepted replaces another
}

func (s *setUp) checkClean() error {
	if s.leftover != nil && wasThere(s.leftover.err) {
		return errNoReset
	}
	for _, c := range s.clean {
		if c.err != nil {
			return fmt.Errorf("removing what was left in the session (%s): %w", c.sql, c.err)
		}
	}
	return nil
}

var errNoReset = unsafeBecause("a proxy hands out sessions with what an earlier client left in them, our own " +
	"statements and so locks as well; let it reset them (server_reset_query = DISCARD ALL)")

var errKeepsLocks = unsafeBecause("a proxy keeps the locks of a client that has gone, so nobody could take the locks of a process that was killed; " +
	"let it reset its sessions (PgBouncer: server_reset_query = DISCARD ALL)")

var errKeepsTransactionLocks = unsafeBecause("a proxy keeps the locks of a client that has gone in the midst of a transaction, as one does that rolls " +
	"back and uses the server connection again (pgcat): nobody could take the locks of a process that was killed; connect to PostgreSQL directly, or " +
	"through a pooler that closes the server connection, as PgBouncer does")

// wasThere reports that a statement could not be prepared since it has been prepared before.
func wasThere(err error) bool { return sqlState(err) == "42P05" }

func checkPrepared(prepares []*command) error {
	for _, c := range prepares {
		switch {
		case wasThere(c.err):
			return errNoReset
		case c.err != nil:
			return fmt.Errorf("preparing the statements: %w", c.err)
		}
	}
	return nil
}

// checkSettings sees what the server did not take. Where it refuses one of them, none of them is set: each is sent alone.
func (s *setUp) checkSettings(ctx context.Context) error {
	failed := make(map[string]string)
	if s.set.err != nil {
		commands := make([]*command, len(s.settings))
		for i := range s.settings {
			commands[i] = ask(setSQL, names(s.settings[i:i+1]), values(s.settings[i:i+1]))
		}
		s.readBack = ask(readBackSQL, names(s.settings))
		all := slices.Concat(s.undo, commands, []*command{s.readBack}, s.again())
		if err := s.wire.exchange(ctx, "making the session's settings", all...); err != nil {
			return err
		}
		for i, c := range commands {
			if c.err != nil {
				failed[s.settings[i].name] = connectError(ctx, c.err).Error()
			}
		}
	}
	if s.readBack.err != nil {
		return fmt.Errorf("reading the session's settings back: %w", s.readBack.err)
	}
	have := make(map[string]string, len(s.settings))
	for _, row := range s.readBack.rows {
		if len(row) == 2 {
			have[string(row[0])] = string(row[1])
		}
	}
	for _, x := range s.settings {
		if text, known := have[x.name]; known {
			have[x.name] = x.inUnit(text)
		}
	}
	refused := notTaken(s.settings, have, failed, isUnix(s.wire.conn))
	s.taken = slices.DeleteFunc(slices.Clone(s.settings), func(x setting) bool { _, known := have[x.name]; return !known || refused[x.name] != "" })
	s.connector.publishRefused(refused)
	return s.connector.leaseHolds(have)
}

// again readies the further commands to be sent once more. They may have begun a transaction: the settings would end with it, and
// one that the server refuses would end it.
func (s *setUp) again() []*command {
	for _, c := range s.further {
		c.rows, c.err = nil, nil
	}
	return s.further
}

func (s *setUp) checkIdentity() error {
	text, err := s.ask.text()
	if err != nil {
		return fmt.Errorf("asking the server which backend answers: %w", err)
	}
	if s.identity, err = parseIdentity(text); err != nil {
		return err
	}
	database := s.connector.database
	switch {
	case s.identity.recovery && database != "": // the probe has found a primary
		return errDemoted
	case s.identity.recovery:
		return errStandby
	case database != "" && s.identity.database != database:
		return unsafeBecause("the sessions of one manager must all be in one database, which is %q: %q answered", database,
			s.identity.database)
	}
	return nil
}

var errStandby = unsafeBecause("the server is a standby, whose locks exclude nobody on the primary; connect to the " +
	"primary (target_session_attrs=read-write)" + balanceCure)

// errDemoted is errStandby where a primary answered before. It passes: a primary that was demoted may be a standby before its address leads to
// the new one. So it is no reason to refuse those who wait, or not to try the next host.
var errDemoted = fmt.Errorf("%w", errStandby)
