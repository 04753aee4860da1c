package report

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// none stands where nothing was measured.
const none = "-"

// span is the range of a figure over the runs.
type span struct {
	low, high float64
	known     bool
}

// with widens the range by a figure.
func (s span) with(v float64) span {
	if !s.known {
		return span{v, v, true}
	}
	return span{min(s.low, v), max(s.high, v), true}
}

// show writes the lower end first, and one figure where both ends read the same.
func (s span) show(format func(float64) string) string {
	if !s.known {
		return none
	}
	low, high := format(s.low), format(s.high)
	if low == high {
		return low
	}
	return low + " to " + high
}

// thousands writes a whole number with separators, as people read it: 301,234.
func thousands(v float64) string { return humanize.Comma(int64(math.Round(v))) }

// short writes about three digits: 0.123, 4.56, 78.9, 12,345. Nothing is a dash.
func short(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return none
	case a < 0.01:
		return fmt.Sprintf("%.2g", v)
	case a < 10:
		return fmt.Sprintf("%.2f", v)
	case a < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return thousands(v)
	}
}

// size writes bytes: 34 MiB.
func size(v float64) string {
	switch {
	case v < 10<<10:
		return thousands(v) + " B"
	case v < 10<<20:
		return fmt.Sprintf("%.0f KiB", v/(1<<10))
	default:
		return fmt.Sprintf("%.0f MiB", v/(1<<20))
	}
}

// duration writes microseconds in the unit that fits.
func duration(us float64) string {
	switch {
	case us == 0:
		return none
	case us < 1000:
		return short(us) + " us"
	case us < 1e6:
		return short(us/1e3) + " ms"
	default:
		return short(us/1e6) + " s"
	}
}

func ratio(v float64) string {
	if v == 0 {
		return none
	}
	return short(v) + " x"
}
