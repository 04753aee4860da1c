package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// probeProxy looks for a proxy that gives one client's statements to different backends. Nothing is set or prepared, and no
// lock outlives its transaction, before the proxy has passed: it would stay behind in somebody's session.
func (p *prober) probeProxy(ctx context.Context, s *setUp) error {
	if err := p.open(ctx, probePeers); err != nil {
		return err
	}
	for round := range probeRounds {
		if err := p.round(ctx, round); err != nil {
			return err
		}
	}
	lock := newLockProbe()
	if err := p.leaveLock(ctx, lock); err != nil {
		return err
	}
	readOnly := ask(readOnlySQL)
	if err := errors.Join(s.run(ctx, readOnly), checkReadOnly(readOnly)); err != nil {
		return err
	}
	if err := p.leaveStatement(ctx, lock); err != nil {
		return err
	}
	return p.reopen(ctx)
}

// round keeps a transaction open on each peer. Meanwhile the first connection must reach the backend that it reached before,
// and each peer one of its own, the same as in the round before. The transactions are ended in any case: their locks would
// stay in a pooler's sessions until it has noticed that the peers are gone.
func (p *prober) round(ctx context.Context, round int) error {
	err := p.compare(ctx, round)
	return errors.Join(err, each(len(p.peers), func(i int) error {
		end := ask("ROLLBACK")
		if failed := p.peers[i].exchange(ctx, "probing the proxy", end); failed != nil && err == nil {
			return failed
		}
		return end.err
	}))
}

// compare begins the transactions and compares what each connection reaches. From the second round on, when the proxy is known
// to have transactions, a lock of one is tried as well.
func (p *prober) compare(ctx context.Context, round int) error {
	key := randomKey()
	held, second := ask(tryXactSQL, key), ask(tryXactSQL, key)
	begins, backends := make([]*command, len(p.peers)), make([]*command, len(p.peers))
	err := each(len(p.peers), func(i int) error {
		begins[i], backends[i] = ask("BEGIN"), ask(backendSQL)
		commands := []*command{begins[i], backends[i]}
		if i == 0 && round > 0 {
			commands = append(commands, held)
		}
		return p.peers[i].exchange(ctx, "probing the proxy", slices.Concat(p.peers[i].rollback(), together(commands...))...)
	})
	if silence, ok := asType[*silenceError](err); ok && round == 0 {
		return &silenceError{limit: silence.limit, what: fmt.Sprintf("a proxy stands before the server and has no session to spare: "+
			"opening takes %d at once, later two are enough: %s", 1+probePeers, silence.what)}
	}
	if refusesTransactions(err) {
		return unsafeBecause(poolerCure)
	}
	if err != nil {
		return err
	}
	for i := range p.peers {
		if refusesTransactions(begins[i].err) {
			return unsafeBecause(poolerCure)
		}
		if err := errors.Join(begins[i].err, p.reached(i+1, backends[i])); err != nil {
			return err
		}
	}
	mine := ask(backendSQL)
	if round == 0 {
		if err := p.first.exchange(ctx, "probing the proxy", mine); err != nil {
			return err
		}
		return p.reached(0, mine)
	}
	if err := p.first.exchange(ctx, "probing the proxy", together(mine, second)...); err != nil {
		return err
	}
	return errors.Join(p.reached(0, mine), checkAnswer(held, "t"), checkAnswer(second, "f"))
}

// refusesTransactions reports what a statement pooler says to BEGIN. PgBouncer says with the same code that no session came free in time.
func refusesTransactions(err error) bool {
	server, ok := asType[*pgconn.PgError](err)
	return ok && server.Code == "08P01" && !strings.Contains(server.Message, "query_wait_timeout")
}

// leaveLock begins the probe of the lock. Meanwhile a peer takes another lock, prepares a statement, and is gone: the proxy has to remove both.
func (p *prober) leaveLock(ctx context.Context, lock lockProbe) error {
	left, prepare := newLeftLock(), &command{prepare: &tryStatement}
	err := each(2, func(i int) error {
		if i == 0 {
			return p.first.exchange(ctx, "probing a lock", lock.take)
		}
		return p.peers[0].exchange(ctx, "probing a lock", prepare, left.take)
	})
	if err := errors.Join(err, lock.check(), left.check(), checkPrepared([]*command{prepare})); err != nil {
		return err
	}
	p.abandon()
	if err := p.peers[0].exchange(ctx, "probing a lock", lock.refuse); err != nil {
		return err
	}
	if err := lock.check(); err != nil {
		return err
	}
	return errors.Join(p.comesFree(ctx, left, lock.release), lock.check())
}

// leaveStatement ends the probe of the lock, and prepares a statement on each peer: a session that finds it there already was
// not reset by the proxy.
func (p *prober) leaveStatement(ctx context.Context, lock lockProbe) error {
	prepares := make([]*command, len(p.peers))
	err := each(len(p.peers), func(i int) error {
		prepares[i] = &command{prepare: &tryStatement}
		commands := []*command{prepares[i]}
		if i == 0 {
			commands = append(commands, lock.retake, lock.final)
		}
		return p.peers[i].exchange(ctx, "probing a lock", commands...)
	})
	if err := errors.Join(err, lock.check()); err != nil {
		return err
	}
	return checkPrepared(prepares)
}

// reopen closes the peers and opens another connection, which gets one of their sessions where the proxy keeps them.
func (p *prober) reopen(ctx context.Context) error {
	p.closePeers()
	w, err := p.connector.obtain(ctx, p.attempt, func(ctx context.Context, w *wire) error {
		return p.connector.newSetUp(w).run(ctx)
	})
	if err == nil {
		w.hangUp()
	}
	return err
}

// renew takes a further answer to the health question.
func (s *setUp) renew(c *command, asked time.Time) error {
	text, err := c.text()
	if err != nil {
		return err
	}
	if same, _ := sameBackend(s.identity.text, text); !same {
		return unsafeBecause("%s", s.scope.cure)
	}
	s.asked = asked
	return nil
}
