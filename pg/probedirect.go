package pg

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// lockProbe takes and releases one lock on two sessions and expects what PostgreSQL would answer: a stub says true to
// everybody, and a proxy that resets its sessions after each transaction drops the lock at once. Its steps are commands in
// the flights of a probe, in this order.
type lockProbe struct {
	take    *command // by the first session
	refuse  *command // to the second, which is told that it is held
	release *command // by the first
	retake  *command // by the second
	final   *command // by the second: it releases it
}

func newLockProbe() lockProbe {
	key := randomKey()
	return lockProbe{ask(trySQL, key), ask(trySQL, key), ask(unlockSQL, key), ask(trySQL, key), ask(unlockSQL, key)}
}

func randomKey() []byte { return []byte(strconv.FormatInt(rand.Int64(), 10)) }

// check compares the answers that have come.
func (l *lockProbe) check() error {
	for _, step := range []struct {
		command *command
		want    string
		what    string
	}{
		{l.take, "t", "a free lock was not granted"},
		{l.refuse, "f", "a lock that one session holds was granted to another"},
		{l.release, "t", "a held lock could not be released"},
		{l.retake, "t", "a released lock was not granted"},
		{l.final, "t", "a held lock could not be released"},
	} {
		if step.command.rows == nil && step.command.err == nil {
			continue // it has not been sent
		}
		got, err := step.command.text()
		if err != nil {
			return err
		}
		if got != step.want {
			return unsafeBecause("advisory locks do not work on this server or through this proxy: %s; a stub, or a reset "+
				"query that runs after every transaction (server_reset_query_always), does so"+balanceCure, step.what)
		}
	}
	return nil
}

// probeDirect looks at a server that seems to be reached directly. So does a proxy that passes on a backend's own number:
// while the first connection keeps a transaction open, a second one must reach one backend again and again.
func (p *prober) probeDirect(ctx context.Context, s *setUp) error {
	opened := make(chan error, 1) // sent by the opener; received below; never closed; capacity 1: its one result
	start(func() (struct{}, error) { return struct{}{}, p.open(ctx, 1) }, func(_ struct{}, err error) { opened <- err })
	lock, key := newLockProbe(), randomKey()
	readOnly, mine, xact := ask(readOnlySQL), ask(backendSQL), ask(tryXactSQL, key)
	s.undo = []*command{ask("ROLLBACK"), ask(unlockSQL, lock.take.params...)}
	err := s.run(ctx, readOnly, ask("BEGIN"), mine, xact, lock.take)
	if err == nil {
		err = checkReadOnly(readOnly)
	}
	if err := errors.Join(err, <-opened); err != nil {
		return err
	}
	if err := errors.Join(p.reached(0, mine), checkAnswer(xact, "t"), lock.check()); err != nil {
		return err
	}
	peer, theirs, second := p.peers[0], ask(backendSQL), ask(tryXactSQL, key)
	// The role's own limits may end the peer's session otherwise, before it is asked again.
	commands := slices.Concat(peer.rollback(), peer.clean(s.scope),
		[]*command{ask(setSQL, names(s.settings), values(s.settings)), theirs, second, lock.refuse})
	if err := peer.exchange(ctx, "probing a second connection", commands...); err != nil {
		return err
	}
	if err := errors.Join(p.reached(1, theirs), checkAnswer(second, "f"), lock.check()); err != nil {
		return err
	}
	mine, again := ask(backendSQL), ask(askStatement.sql)
	asked := time.Now()
	if err := p.first.exchange(ctx, "probing the first connection", mine, lock.release, ask("ROLLBACK"), again); err != nil {
		return err
	}
	if err := errors.Join(p.reached(0, mine), lock.check(), s.renew(again, asked)); err != nil {
		return err
	}
	theirs = ask(backendSQL)
	if err := peer.exchange(ctx, "probing the second connection", theirs, lock.retake, lock.final); err != nil {
		return err
	}
	return errors.Join(p.reached(1, theirs), lock.check())
}

// checkAnswer expects the answer of a lock that is released with its transaction.
func checkAnswer(c *command, want string) error {
	got, err := c.text()
	if err == nil && got != want {
		err = unsafeBecause(poolerCure)
	}
	return err
}
