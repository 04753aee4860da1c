package mailbox

import (
	"sync"
	"testing"
)

// owner is dealt with by whoever has its turn.
type owner struct {
	inbox Mailbox[int]
	turn  Turn
	sum   int // under the turn alone: the race detector watches
	most  int // messages in one turn
}

func (o *owner) post(n *Node[int]) {
	o.inbox.Post(n)
	for !o.inbox.Empty() && o.turn.Try() {
		taken := 0
		for l := o.inbox.Take(); ; taken++ {
			v, ok := l.Next()
			if !ok {
				break
			}
			o.sum += v
		}
		o.most = max(o.most, taken)
		o.turn.Give()
	}
}

// Many senders and nobody who waits for messages: each is dealt with once, by one sender at a time, and when all senders
// have returned none is left.
func TestTurn(t *testing.T) {
	const senders, each = 8, 2000
	o := new(owner)
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range each {
				o.post(&Node[int]{Value: 1})
			}
		})
	}
	wg.Wait()
	if !o.inbox.Empty() {
		t.Error("a message is left, and nobody will look")
	}
	if !o.turn.Try() {
		t.Error("somebody has the turn, and nobody is there")
	}
	if o.sum != senders*each {
		t.Errorf("%d messages were dealt with, should be %d", o.sum, senders*each)
	}
}

// Take waits for the turn; Try does not.
func TestTakeATurn(t *testing.T) {
	var turn Turn
	turn.Take()
	if turn.Try() {
		t.Fatal("two have the turn")
	}
	got := make(chan struct{})
	go func() {
		turn.Take()
		close(got)
	}()
	turn.Give()
	<-got
	if turn.Try() {
		t.Fatal("two have the turn")
	}
}
