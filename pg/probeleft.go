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
	defer p.endSearch(ctx)
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

// sought is a connection of the search. Its context ends with the search.
type sought struct {
	*wire
	end context.CancelFunc
}

// seek asks by one more connection for the backend of the abandoned peer. Where it gets that backend with the lock, the proxy is not safe, however
// fast it is, and the lock is released. That it gets none, or another backend, says nothing. It keeps the connection until the search has ended,
// since a proxy may give the backend that was used last to the next client.
func (p *prober) seek(ctx context.Context, scope *scope, key []byte) error {
	lasting, end := context.WithCancel(ctx)        // the connection ends with it
	slow := time.AfterFunc(p.attempt.limit/2, end) // a pooler may have no session to spare
	defer slow.Stop()
	w, err := p.connector.obtain(lasting, p.attempt, anything)
	if err != nil {
		end()
		return ctx.Err()
	}
	p.sought = append(p.sought, sought{w, end})
	backend := ask(backendSQL)
	if err := w.exchange(lasting, whatIsLeft, slices.Concat(w.rollback(), asked(scope.begin), []*command{backend})...); err != nil {
		return ctx.Err()
	}
	if reached, err := backend.text(); err != nil || reached != p.backends[1] {
		return nil // it is another's
	}
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

// endSearch closes the connections of the search.
func (p *prober) endSearch(ctx context.Context) {
	for _, s := range p.sought {
		_ = s.exchange(ctx, whatIsLeft, s.rollback()...) // a failure ends the connection
		s.hangUp()
		s.end()
	}
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
