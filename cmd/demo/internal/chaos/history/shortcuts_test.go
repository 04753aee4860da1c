package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// The two steps that keep Porcupine's search short change no verdict: on small random histories, legal and not, with and
// without sessions that the server ends, it says the same of the whole history as it is.
func TestShortcutsChangeNoVerdict(t *testing.T) {
	legal, illegal, cut, early := 0, 0, 0, 0
	for seed := range uint64(6000) {
		random := rand.New(rand.NewPCG(seed, 0))
		r := &rules{trust: int64(time.Second), closed: never}
		if seed%3 > 0 {
			at := 1000 + random.Int64N(200)
			r.faults = []*plan.Fault{{Kind: plan.Terminate, Target: 1, Begin: at, Active: at + 1, Healed: at + 1}}
		}
		holds := randomHolds(random, 2+random.IntN(7), seed%2 == 0)
		plain := porcupine.CheckOperations(lockModel, r.operations(holds, false))
		short := true
		windows := r.windows(holds, 1)
		for _, window := range windows {
			short = short && porcupine.CheckOperations(lockModel, r.operations(window, true))
		}
		if plain != short {
			t.Fatalf("seed %d: %v as it is, %v cut into %d and tightened: %s", seed, plain, short, len(windows), show(holds))
		}
		if plain {
			legal++
		} else {
			illegal++
		}
		cut += len(windows) - 1
		if slices.ContainsFunc(holds, func(h *Hold) bool { return r.endFrom(h) < h.Granted }) {
			early++
		}
	}
	if legal < 600 || illegal < 600 || cut < 600 || early < 60 {
		t.Errorf("%d legal histories, %d illegal ones, %d cuts, %d with a hold that ended early", legal, illegal, cut, early)
	}
}

// randomHolds are those of a lock, seen with delays; with an error mixed in where they are not to be good. Some histories have readers,
// some have slots.
func randomHolds(random *rand.Rand, n int, good bool) []*Hold {
	slots, readers := 1+random.IntN(3), random.IntN(2) == 0
	if readers {
		slots = 3 // at most so many share it here
	}
	free := make([]int64, slots) // when each slot is
	for i := range free {
		free[i] = 1000
	}
	var holds []*Hold
	for i := range n {
		wrong := !good && random.IntN(4) == 0
		slot := slices.Index(free, slices.Min(free))
		room := slots
		switch {
		case !readers:
		case random.IntN(2) == 0:
			room = Everyone
		default:
			room = 1
		}
		begin := free[slot]
		if room == 1 || len(holds) > 0 && holds[len(holds)-1].Room == 1 {
			begin = slices.Max(free)
		}
		taken := begin + random.Int64N(20)
		left := taken + 1 + random.Int64N(50)
		h := &Hold{Handle: uint64(i + 1), Room: room, Process: random.IntN(3), Asked: taken - random.Int64N(100), Granted: taken + random.Int64N(10)}
		h.Letting = max(h.Granted, left-random.Int64N(10))
		h.LetBy = max(h.Letting, left) + random.Int64N(30)
		now := h.Letting + random.Int64N(h.LetBy-h.Letting+1)
		switch {
		case wrong: // the next one may come while this one is there
			now = taken
		case random.IntN(4) == 0 && h.Process == 1: // the server ended its session, perhaps
			h.Let = Gone
			now = taken + random.Int64N(left-taken)
		case random.IntN(5) == 0:
			h.Let = Unknown
		}
		holds = append(holds, h)
		if free[slot] = now; room == 1 {
			for i := range free {
				free[i] = now
			}
		}
	}
	sortByGrant(holds)
	return holds
}

func show(holds []*Hold) string {
	var b strings.Builder
	for _, h := range holds {
		fmt.Fprintf(&b, "\n  %d: room %d asked %d granted %d letting %d let by %d %v", h.Handle, h.Room, h.Asked, h.Granted, h.Letting, h.LetBy, h.Let)
	}
	return b.String()
}
