package locks

import (
	"sync"
	. "sync"
	other "sync"
)

type byField struct{ mu sync.Mutex }

type byEmbedding struct{ sync.RWMutex }

type alias = other.Mutex

type byAlias struct{ mu alias }

type byDotImport struct{ wake *Cond }

func use(a *byField, b *byEmbedding, l sync.Locker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.RLock()
	b.RUnlock()
	if a.mu.TryLock() {
		return
	}
	l.Lock()
	sync.NewCond(l).Wait()
	var once sync.Once
	once.Do(func() {})
	sync.OnceFunc(func() {})()
}

// byHand is a lock that is made of a channel.
type byHand struct {
	token chan struct{} // sent by Unlock; received by Lock; never closed; capacity 1: the token
}

func (h byHand) Lock()   { <-h.token }
func (h byHand) Unlock() { h.token <- struct{}{} }
func (h byHand) with(f func()) {
	h.Lock()
	defer h.Unlock()
	f()
}

// door has Unlock with a parameter, and no Lock: it is no lock.
type remote struct{}

func (remote) Unlock(id int64) {}

func fine() { remote{}.Unlock(1) }
