package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// A caller gives up in the moment in which the server grants it the lock, again and again. After every error the key has to
// be free soon, and fifty locks that the same manager holds must notice nothing.
func TestCancelRacesGrant(t *testing.T) { eachWay(t, checkCancelRacesGrant) }

func checkCancelRacesGrant(t *testing.T, w way) {
	t.Helper()
	s := pgtest.Shared(t)
	audit(t, s)
	o := newOutsider(t, s)
	m := w.open(t, w.reach(t, s))
	neighbours := make([]*manager.Lock, 50)
	for i := range neighbours {
		neighbours[i] = acquire(t, m, fmt.Sprint("neighbour ", i))
	}
	before := o.held()
	key := m.Key("raced")
	rounds, granted := often(60, 1000), 0
	var afterError, afterGrant figures
	random := rand.New(rand.NewPCG(1, 2))
	if !o.is("SELECT pg_try_advisory_lock(%d)", key.ID()) {
		t.Fatal("the outsider cannot take a free lock")
	}
	for range rounds {
		ctx, cancel := context.WithCancel(context.Background())
		type answer struct {
			lock *manager.Lock
			err  error
			at   time.Time
		}
		answered := make(chan answer, 1)
		go func() {
			lock, err := key.Acquire(ctx)
			answered <- answer{lock, err, time.Now()}
		}()
		eventually(t, "it waits at the server", func() bool { return o.waitsFor(key.ID()) })
		apart := time.Duration(random.IntN(1000)-200) * time.Microsecond // the grant takes a while to come through
		cancelled := time.AfterFunc(max(0, apart), cancel)
		if apart < 0 {
			<-time.After(-apart)
		}
		if !o.is("SELECT pg_advisory_unlock(%d)", key.ID()) {
			t.Fatal("the outsider's lock is gone")
		}
		a := ended(t, "the answer", answered)
		since := a.at
		if a.err == nil { // it was granted first: the end of the context releases it
			granted++
			<-ctx.Done()
			since = time.Now()
		} else if !errors.Is(a.err, context.Canceled) {
			t.Fatal(a.err)
		}
		for !o.is("SELECT pg_try_advisory_lock(%d)", key.ID()) {
			if time.Since(since) > patience {
				t.Fatal("the key stays locked after ", a.err)
			}
		}
		if a.err == nil {
			afterGrant = append(afterGrant, time.Since(since))
		} else {
			afterError = append(afterError, time.Since(since))
		}
		cancelled.Stop()
		cancel()
	}
	for _, lock := range neighbours {
		if err := lock.Err(); err != nil {
			t.Errorf("a neighbour: %v", err)
		}
	}
	after := o.held()
	for id, pid := range before {
		if after[id] != pid {
			t.Errorf("neighbour %d was held by backend %d, now by %d", id, pid, after[id])
		}
	}
	if losses := m.Stats().Losses; len(losses) > 0 {
		t.Errorf("losses: %v", losses)
	}
	t.Logf("%d rounds, %d errors, %d granted first; free again after an error: %v; after the context ended: %v; "+
		"50 neighbours on the same manager kept their locks", rounds, rounds-granted, granted, afterError, afterGrant)
	if len(afterError) == 0 {
		t.Error("no round ended with an error: nothing was tested")
	}
	if often(0, 1) == 1 && afterError.at(1) > 50*time.Millisecond {
		t.Errorf("a key was free only %v after an error", afterError.at(1))
	}
	for _, lock := range neighbours {
		release(t, lock)
	}
}
