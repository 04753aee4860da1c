package pg

import (
	"context"
	"slices"
	"time"
)

const (
	// keptBound is how long a proxy may take to release the locks of a client that has gone, at least: it may be as slow as its machine. It
	// is waited for only where the lock is not free yet.
	keptBound = 10 * time.Second
	// The pauses grow by a factor of 4, so that few round trips are made. After a longest one the backend that has the lock is looked for.
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
	// soughtAtOnce is how many connections it is looked for by: more than a proxy is likely to have idle so soon.
	soughtAtOnce = 4
)

const whatIsLeft = "waiting until a proxy has released the lock of a client that has gone"

// newLeftLock is a lock that a peer takes and never releases.
func newLeftLock() lockProbe {
	none := &command{}
	return lockProbe{ask(trySQL, randomKey()), none, none, none, none}
}

// abandon closes the first peer's connection without a goodbye, as the end of a killed process does.
func (p *prober) abandon() {
	peer := p.peers[0]
	p.peers = p.peers[1:]
	peer.broken = true
	closeSocket(peer.conn)
}

// comesFree waits until the lock of the abandoned peer is free. A direct connection's backend ends with its client; a proxy that uses the backend
// again has to release what the client had locked. The further commands are sent to the first connection before it asks the first time.
func (p *prober) comesFree(ctx context.Context, left lockProbe, further ...*command) error {
	scope, key, begun := p.connector.config.scope, left.take.params[0], time.Now()
	longest := min(longestPause, p.attempt.limit/2) // the attempt ends after a longer silence than its limit
	for pause := min(firstPause, longest); ; pause = min(4*pause, longest) {
		try := ask(tryXactSQL, key)
		if err := p.first.exchange(ctx, whatIsLeft, slices.Concat(further, []*command{try}, scope.renew())...); err != nil {
			return err
		}
		further = nil
		switch free, err := try.text(); {
		case err != nil || free == "t":
			return err
		case time.Since(begun) > max(keptBound, p.attempt.limit):
			return scope.keeps
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
		if pause < longest {
			continue
		}
		if err := p.seek(ctx, scope, key); err != nil {
			return err
		}
	}
}

// seek asks by further connections for the backend of the abandoned peer. Where it gets that backend with the lock, the proxy is not safe, however
// fast it is, and the lock is released. That it gets none, or other backends, says nothing. It has all of them at the same time, since a proxy
// may give the one that was used last to every client.
func (p *prober) seek(ctx context.Context, scope *scope, key []byte) error {
	short, cancel := context.WithTimeout(ctx, p.attempt.limit/2) // a pooler may have no session to spare
	defer cancel()
	for range soughtAtOnce {
		w, err := p.connector.obtain(short, p.attempt, anything)
		if err != nil {
			return ctx.Err()
		}
		defer func() {
			_ = w.exchange(ctx, whatIsLeft, w.rollback()...) // a failure ends the connection
			w.hangUp()
		}()
		backend := ask(backendSQL)
		if err := w.exchange(short, whatIsLeft, slices.Concat(w.rollback(), asked(scope.begin), []*command{backend})...); err != nil {
			return ctx.Err()
		}
		if reached, err := backend.text(); err == nil && reached == p.backends[1] {
			return w.releaseLeft(ctx, scope, key)
		}
	}
	return nil
}

// releaseLeft releases the lock that a proxy has kept in this backend.
func (w *wire) releaseLeft(ctx context.Context, scope *scope, key []byte) error {
	unlock := ask(unlockSQL, key)
	if err := w.exchange(ctx, whatIsLeft, unlock, &command{close: &tryStatement}); err != nil {
		return err // the lock may have been released by this
	}
	released, err := unlock.text()
	if err == nil && released == "t" {
		err = scope.keeps
	}
	return err
}

func rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
