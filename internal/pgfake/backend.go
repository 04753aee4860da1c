package pgfake

import (
	"strconv"
	"time"
)

// Backend is a session as the lock table knows it. It is the part of [Locks] that is about locks. One goroutine uses it.
type Backend struct {
	table *Table
	pid   uint32
	xact  []int64 // what the end of the transaction releases
}

// NewBackend is that of the session with this pid.
func NewBackend(t *Table, pid uint32) *Backend { return &Backend{table: t, pid: pid} }

// Try implements [Locks].
func (b *Backend) Try(l Lock) bool { return b.table.Try(b.pid, l) }

// Unlock implements [Locks].
func (b *Backend) Unlock(l Lock) bool { return b.table.Unlock(b.pid, l) }

// TryXact implements [Locks].
func (b *Backend) TryXact(id int64) bool {
	granted := b.Try(Lock{ID: id})
	if granted {
		b.xact = append(b.xact, id)
	}
	return granted
}

// EndXact implements [Locks].
func (b *Backend) EndXact() {
	for _, id := range b.xact {
		b.Unlock(Lock{ID: id})
	}
	b.xact = nil
}

// Await waits in a lock's queue, for as long as lockTimeout says, the session's setting, and answers the statement. It reports false where the
// client has gone meanwhile: then there is nobody to answer.
func (b *Backend) Await(q *Statement, lockTimeout string, canceled, gone <-chan struct{}) bool {
	select {
	case <-canceled: // it came before there was something to cancel
	default:
	}
	w := b.table.Wait(b.pid, q.Lock())
	var over <-chan time.Time
	if slice, err := strconv.Atoi(lockTimeout); err == nil && slice > 0 {
		timer := time.NewTimer(time.Duration(slice) * time.Millisecond)
		defer timer.Stop()
		over = timer.C
	}
	code := ""
	select {
	case <-w.Granted():
	case <-over:
		code = "55P03"
	case <-canceled:
		code = "57014"
	case <-gone:
		return false
	}
	if code != "" && !b.table.Leave(w) && (code == "55P03" || q.Kind == Wait) {
		code = "" // granted in that moment
	}
	q.Waited(code == "")
	if q.Kind != Wait { // else the block catches it
		q.Code = code
	}
	return true
}
