package sim

import (
	"slices"
	"time"
)

// shrinker makes a failing history shorter for as long as it goes on failing by the same check.
type shrinker struct {
	fails func(History) bool
	until time.Time
	best  History
}

// try takes a history in the place of the best one if it fails as well.
func (s *shrinker) try(h History) bool {
	if !time.Now().Before(s.until) || !s.fails(h) {
		return false
	}
	s.best = h
	return true
}

func (s *shrinker) shrink() {
	for again := true; again && time.Now().Before(s.until); {
		again = s.dropSteps()
		again = s.dropChoices() || again
		again = s.lowerChoices() || again
	}
}

// dropSteps leaves out runs of steps, long ones first. The set-up, step 0, stays.
func (s *shrinker) dropSteps() (better bool) {
	for size := len(s.best); size >= 1; size /= 2 {
		for at := len(s.best) - size; at >= 1; at -= size {
			if at+size > len(s.best) {
				continue
			}
			better = s.try(slices.Delete(slices.Clone(s.best), at, at+size)) || better
		}
	}
	return better
}

// dropChoices cuts steps short: what is not chosen is 0.
func (s *shrinker) dropChoices() (better bool) {
	for i := range s.best {
		for n := range s.best[i] {
			h := slices.Clone(s.best)
			h[i] = h[i][:n]
			if s.try(h) {
				better = true
				break
			}
		}
	}
	return better
}

func (s *shrinker) lowerChoices() (better bool) {
	for i := range s.best {
		for j := range s.best[i] {
			for _, value := range []byte{0, s.best[i][j] / 2, s.best[i][j] - 1} {
				if value >= s.best[i][j] { // also where it wrapped around
					continue
				}
				h := slices.Clone(s.best)
				h[i] = slices.Clone(h[i])
				h[i][j] = value
				if s.try(h) {
					better = true
					break
				}
			}
		}
	}
	return better
}
