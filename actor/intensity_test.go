package actor

import (
	"testing"
	"time"
)

func TestIntensity(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	for _, row := range []struct {
		name  string
		limit IntensityLimit
		times []float64
		until []float64 // 0: allowed
	}{
		{"none allowed", IntensityLimit{0, 10 * time.Second}, []float64{1, 2}, []float64{11, 12}},
		{"two in ten seconds", IntensityLimit{2, 10 * time.Second}, []float64{0, 4, 5, 9.9, 10, 14, 14}, []float64{0, 0, 10, 10, 0, 0, 20}},
		{"all at once", IntensityLimit{3, 10 * time.Second}, []float64{5, 5, 5, 5, 15, 15, 15, 15}, []float64{0, 0, 0, 15, 0, 0, 0, 25}},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := intensity{limit: row.limit}
			for n, when := range row.times {
				until, tooMany := i.add(at(when))
				if tooMany != (row.until[n] > 0) || tooMany && !until.Equal(at(row.until[n])) {
					t.Errorf("restart %d at %v: too many %v, until %v", n, when, tooMany, until)
				}
				if len(i.times) > row.limit.Restarts {
					t.Errorf("%d restarts are remembered", len(i.times))
				}
			}
		})
	}
}
