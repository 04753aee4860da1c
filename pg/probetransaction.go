package pg

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// localReadOnlySQL asks what new transactions are: the session's own is read-only.
const localReadOnlySQL = "SELECT pg_catalog.current_setting('default_transaction_read_only') WHERE " + volatile

// probeTransaction makes sure that a transaction keeps its backend. While the first connection lives in one, a peer begins and ends
// transactions: none may reach the first one's backend, none may have the lock that the first one has, and the first one must reach its own
// backend after each. At last the peer is gone in the midst of a transaction, and its lock has to come free. It needs two server connections of a pooler.
func (p *prober) probeTransaction(ctx context.Context, s *setUp) error {
	p.backends[0] = ""            // it was asked outside of a transaction
	opened := make(chan error, 1) // sent by the opener; received below; never closed; capacity 1: its one result
	start(func() (struct{}, error) { return struct{}{}, p.open(ctx, 1) }, func(_ struct{}, err error) { opened <- err })
	key, readOnly, mine := randomKey(), ask(localReadOnlySQL), ask(backendSQL)
	lock := lockProbe{ask(trySQL, key), ask(tryXactSQL, key), ask(unlockSQL, key), ask(tryXactSQL, key), &command{}}
	err := s.run(ctx, readOnly, mine, lock.take)
	if err == nil {
		err = checkReadOnly(readOnly)
	}
	if err := errors.Join(err, <-opened); err != nil {
		return err
	}
	if err := errors.Join(p.reached(0, mine), lock.check()); err != nil {
		return err
	}
	for range probeRounds {
		lock.refuse = ask(tryXactSQL, key)
		if err := p.peerTransaction(ctx, lock.refuse, ask("ROLLBACK")); err != nil {
			return errors.Join(err, lock.check())
		}
		mine, again, asked := ask(backendSQL), ask(askStatement.sql), time.Now()
		if err := p.first.exchange(ctx, "probing the transaction", mine, again); err != nil {
			return err
		}
		if err := errors.Join(p.reached(0, mine), lock.check(), s.renew(again, asked)); err != nil {
			return err
		}
	}
	if err := p.first.exchange(ctx, "probing the transaction", append([]*command{lock.release}, s.scope.renew()...)...); err != nil {
		return err
	}
	left := newLeftLock()
	if err := errors.Join(p.peerTransaction(ctx, lock.retake, left.take), lock.check(), left.check()); err != nil {
		return err
	}
	p.abandon()
	if err := p.comesFree(ctx, left); err != nil {
		return err
	}
	mine, again, asked := ask(backendSQL), ask(askStatement.sql), time.Now()
	if err := p.first.exchange(ctx, "probing the transaction", mine, again); err != nil {
		return err
	}
	return errors.Join(p.reached(0, mine), s.renew(again, asked), firstFailure(p.first, nil, nil))
}

// peerTransaction has the peer begin a transaction and do these commands in it.
func (p *prober) peerTransaction(ctx context.Context, commands ...*command) error {
	peer, backend := p.peers[0], ask(backendSQL)
	if rollback := peer.rollback(); len(rollback) > 0 {
		if err := peer.exchange(ctx, "probing a second transaction", rollback...); err != nil {
			return err
		}
	}
	err := peer.exchange(ctx, "probing a second transaction", append([]*command{ask("BEGIN"), backend}, commands...)...)
	if silence, ok := asType[*silenceError](err); ok {
		return &silenceError{limit: silence.limit, what: fmt.Sprintf("a proxy stands before the server and has no session to spare: "+
			"opening takes 2 at once, later each session has one: %s", silence.what)}
	}
	if err != nil {
		return err
	}
	p.backends[1] = "" // another for each transaction
	return p.reached(1, backend)
}
