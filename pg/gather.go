package pg

import (
	"runtime"
	"time"
)

// What a statement carries is what has queued when it is sent. Sent as soon as the answer to the one before has come, it
// carries what a few of those who have just been answered are quick enough to ask for; a moment later, what all of them do.

// pause is what comes between an answer and the next statement.
type pause uint8

const (
	noPause pause = iota
	// pauseTurn lets those run who have been answered.
	pauseTurn
	// pauseRest lasts as long as the statement took. Each on a session with many locks costs the server what all of them
	// cost it, milliseconds, whatever it carries; and of a crowd on several such sessions each has but a part. With 100,000
	// locks on four sessions and 1,000 callers a statement carries 215 instead of 160, for two thirds of the server's time.
	pauseRest
)

const (
	// gatherAt is how many locks on the session are many: then there is a pause for a lone caller, too.
	gatherAt = fullAt
	// restFrom is how many in one statement are a crowd, which alone makes a session rest, and restMost for how long at most.
	restFrom = 32
	restMost = 10 * time.Millisecond
	// manyAnswered are so many that the last quarter of them is not waited for: the server would have nothing to do meanwhile.
	manyAnswered = 128
)

// pauseAfter chooses the pause after a statement that carried n. From here on the next one is sent at the end of the pause,
// or by who finds that enough wait. It is called before those who are answered hear of it.
func (s *Session) pauseAfter(n int) pause {
	heavy := s.locks.Load() >= gatherAt
	switch {
	case heavy && n >= restFrom:
		s.gather.Store(maxBatch)
		return pauseRest
	case heavy || n > 1:
		enough := s.waiting.Load() // as many as are about to be answered
		if n >= manyAnswered {
			enough -= enough / 4
		}
		s.gather.Store(enough)
		return pauseTurn
	default:
		return noPause
	}
}

func (s *Session) pause(p pause, took time.Duration) {
	switch p {
	case noPause:
	case pauseTurn:
		runtime.Gosched()
		s.gather.Store(0)
	case pauseRest:
		s.rest.Reset(min(took, restMost))
	}
}

// rested ends a rest.
func (s *Session) rested() {
	s.gather.Store(0)
	s.work()
	s.MustRead()
}
