package sim_test

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// statement is one that was sent, and what came of it.
type statement struct {
	*pgfake.Statement
	c       *wire
	request *pgfake.Request

	sent     time.Time
	settles  bool // it is to settle a doubt
	executed bool
	queued   bool // a wait
	sliceEnd time.Time
}

// touchesLocks: what it does waits until the history has it done.
func (s *statement) touchesLocks() bool { return len(s.ids()) > 0 }

func (s *statement) String() string {
	switch {
	case s.Kind == pgfake.Batch:
		return fmt.Sprintf("batch of %v on %v: unlock %v, try %v", s.c.p, s.c, s.Unlocks(), s.Locks())
	case s.touchesLocks():
		return fmt.Sprintf("%s of %d by %v on %v", s.Kind, s.ID(), s.c.p, s.c)
	}
	return fmt.Sprintf("%s by %v on %v", s.Kind, s.c.p, s.c)
}
