package manager

import (
	"context"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// A question waits for its turn, a second at most where the server is slow, and fails where its session ends: then it is asked once more.
const (
	askPatience = 1200 * time.Millisecond
	askTimes    = 2
)

// holderOf asks the server who holds a lock; nil if nobody does, or that does not become known soon. It runs on the caller's goroutine.
func (m *Manager) holderOf(ctx context.Context, id int64) (h *Holder, known bool) {
	timer := time.NewTimer(askPatience)
	defer timer.Stop()
	for range askTimes {
		asker := make(asker, 1)
		m.pool.Who(id, asker)
		select {
		case a := <-asker:
			return holder(a.Holder), !a.Asked.IsZero()
		case <-timer.C:
			timer.Reset(askPatience)
		case <-ctx.Done():
			return nil, false
		}
	}
	return nil, false
}

// asker is sent the answer by the pool; received by holderOf; never closed; capacity 1: the pool answers once, or not.
type asker chan pg.WhoAnswer

// Told implements [pg.Asker].
func (a asker) Told(h pg.WhoAnswer) { a <- h }

// holder is what a session was told, for those who are refused.
func holder(h *pg.Holder) *actor.Holder {
	if h == nil {
		return nil
	}
	return &actor.Holder{PID: h.PID, ApplicationName: h.ApplicationName, ClientAddr: h.ClientAddr, Since: h.SessionSince, Seen: time.Now()}
}
