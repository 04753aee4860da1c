package manager

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// How a caller that has the gate finds a slot.
const (
	// A caller for whom no slot is free polls for some of them, which are handed on to it at once in its own process, and looks at all
	// others now and then.
	slotsAwaited = 4
	slotsAgain   = 20 * time.Millisecond
	// slotsTried bounds how many slots are tried in one go: the first alone, since most often it is free, then twice as many each time.
	slotsTried = 64
)

// tryAny tries the slots, in any order, until one is free.
func (s *slotting) tryAny() (number int, found bool, err error) {
	order := rand.Perm(s.n)
	for size := 1; len(order) > 0 && !found && err == nil; size = min(2*size, slotsTried) {
		size = min(size, len(order))
		number, found, err = s.tryThese(order[:size])
		order = order[size:]
	}
	return number, found, err
}

func (s *slotting) tryThese(numbers []int) (number int, found bool, err error) {
	t := actor.Terms{Try: true}
	claims := make([][]*actor.Claim, 0, len(numbers))
	for _, i := range numbers {
		c, failed := s.submit(s.slotKey(i), t)
		if failed != nil {
			err = failed
			break
		}
		claims = append(claims, c)
	}
	for i, ofSlot := range claims {
		switch granted, failed := s.allDecided(ofSlot); {
		case failed == nil && !found:
			number, found = numbers[i], true
			s.others = append(s.others, granted...)
		case failed == nil:
			for _, c := range granted {
				c.ReleaseLater()
			}
		case !errors.Is(failed, ErrNotAcquired):
			err = failed
		}
	}
	if found {
		err = nil // of another that was tried with it
	}
	return number, found, err
}

// await waits until a slot is free. Slots with two ids each are looked at now and then only.
func (s *slotting) await() (number int, err error) {
	order := rand.Perm(s.n)
	awaited := order[:min(slotsAwaited, s.n)]
	if s.m.config.secondHash != nil {
		awaited = nil
	}
	var claims [slotsAwaited]*actor.Claim
	var replies [slotsAwaited]<-chan actor.Reply
	defer func() {
		s.withdraw(slices.DeleteFunc(claims[:], func(c *actor.Claim) bool { return c == nil })...)
	}()
	for i, n := range awaited {
		only, err := s.submit(s.slotKey(n), actor.Terms{PollOnly: true})
		if err != nil {
			return 0, err
		}
		claims[i] = only[0]
		replies[i] = claims[i].Replies()
	}
	again := time.NewTicker(slotsAgain)
	defer again.Stop()
	done := s.ctx.Done()
	for {
		which, reply := -1, actor.Decided
		select {
		case reply = <-replies[0]:
			which = 0
		case reply = <-replies[1]:
			which = 1
		case reply = <-replies[2]:
			which = 2
		case reply = <-replies[3]:
			which = 3
		case <-again.C:
			if number, found, err := s.tryAny(); found || err != nil {
				return number, err
			}
		case <-s.over:
			return 0, ErrWaitTimeout
		case <-done:
			return 0, contextReason(s.ctx)
		}
		if which < 0 || reply == actor.AskPause {
			continue // without an answer the pause is a second
		}
		c := claims[which]
		claims[which], replies[which] = nil, nil
		c.Received()
		s.removeAsked(c)
		if err := s.refusal(c); err != nil {
			return 0, err
		}
		s.others = append(s.others, c)
		return awaited[which], nil
	}
}
