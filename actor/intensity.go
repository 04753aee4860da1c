package actor

import "time"

// IntensityLimit is how many restarts a key may have within a window before it is given up for a while.
type IntensityLimit struct {
	Restarts int
	Window   time.Duration
}

// intensity remembers the restarts of one key.
type intensity struct {
	limit IntensityLimit
	times []time.Time // within the window, oldest first; at most limit.Restarts
}

// add counts a restart at now. Where it is one too many it says until when the key is to be left alone: until the oldest
// of them has left the window.
func (i *intensity) add(now time.Time) (until time.Time, tooMany bool) {
	kept := i.times[:0]
	for _, t := range i.times {
		if now.Sub(t) < i.limit.Window {
			kept = append(kept, t)
		}
	}
	i.times = kept
	if len(i.times) >= i.limit.Restarts {
		if len(i.times) == 0 { // none are allowed
			return now.Add(i.limit.Window), true
		}
		return i.times[0].Add(i.limit.Window), true
	}
	i.times = append(i.times, now)
	return time.Time{}, false
}
