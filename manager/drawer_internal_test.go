package manager

import (
	"errors"
	"testing"
	"time"
)

// Two callers of a process may wait for the holds before one key's tokens, where the first has yet to hear that its session has ended. Each goes by
// what was before its own token.
func TestEachDrawWaitsForWhatWasBeforeIt(t *testing.T) {
	draws := func(token, told int64) *draw {
		return &draw{ids: []int64{1}, delay: time.Hour, reply: make(chan drawn, drawnRoom), token: token, begun: time.Now(), befores: []before{{id: 1, told: told}}}
	}
	first, second := draws(6, 5), draws(8, 7)
	d := &drawer{pending: []*draw{first, second}}
	d.finish(&drawing{checks: []*draw{first, second}, seen: map[int64]before{1: {id: 1, told: 7, ended: 5}}})
	if got := <-first.reply; got.token != 6 {
		t.Errorf("the hold before it has ended, and it gets %+v", got)
	}
	if got := <-second.reply; !errors.Is(got.blocked, errUnclean) {
		t.Errorf("the hold before it has not ended, and it gets %+v", got)
	}
}
