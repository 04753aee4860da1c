package sim

import (
	"encoding/hex"
	"errors"
	"math/rand/v2"
)

// History is what was chosen, step by step.
type History [][]byte

// String is a form that [ParseHistory] reads.
func (h History) String() string {
	var raw []byte
	for _, step := range h {
		raw = append(append(raw, byte(len(step))), step...)
	}
	return hex.EncodeToString(raw)
}

// ParseHistory reads what [History.String] wrote.
func ParseHistory(text string) (History, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	var h History
	for len(raw) > 0 {
		n := int(raw[0])
		if raw = raw[1:]; n > len(raw) {
			return nil, errors.New("the history is cut off")
		}
		h, raw = append(h, raw[:n:n]), raw[n:]
	}
	return h, nil
}

// maxPick is the most alternatives that a choice may have: it is one byte. Of a step that has more choices than fit, the
// last ones are the dullest.
const (
	maxPick    = 256
	maxChoices = 255
)

// Source is where a system takes its decisions from. It is not safe for concurrent use.
type Source struct {
	given  History    // to be repeated; nil: random
	random *rand.Rand // nil when repeating
	steps  int        // how many there may be
	taken  History
	at     int // within the given step
}

// Random is a source of new histories of at most so many steps.
func Random(seed uint64, steps int) *Source {
	return &Source{random: rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15)), steps: steps}
}

// Repeat is a source of a history that is known.
func Repeat(h History) *Source { return &Source{given: h, steps: len(h)} }

// Next begins a step, and reports false where the history is over. The first step is for the choices of a set-up.
func (s *Source) Next() bool {
	if len(s.taken) >= s.steps {
		return false
	}
	s.taken = append(s.taken, nil)
	s.at = 0
	return true
}

// Pick chooses one of n alternatives, 0 to n-1. Without a step under way it is the first.
func (s *Source) Pick(n int) int {
	if n > maxPick {
		panic("BUG: too many alternatives")
	}
	last := len(s.taken) - 1
	if n <= 1 || last < 0 {
		return 0
	}
	choice := 0
	if s.random != nil {
		choice = s.random.IntN(n)
	} else if step := s.given[last]; s.at < len(step) {
		choice = int(step[s.at]) % n
		s.at++
	}
	if len(s.taken[last]) == maxChoices {
		return 0
	}
	s.taken[last] = append(s.taken[last], byte(choice))
	return choice
}

// Chance is true once in n times; false is the dull answer.
func (s *Source) Chance(n int) bool { return s.Pick(n) == n-1 && n > 1 }

// Taken is the history so far.
func (s *Source) Taken() History { return s.taken }

// Repeating reports whether the history is known: then it is worth telling in words.
func (s *Source) Repeating() bool { return s.random == nil }
