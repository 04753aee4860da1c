package summary

import (
	"fmt"
	"slices"
	"time"
)

// Flatness says whether what the worker processes use stays the same.
type Flatness struct {
	Flat  bool     `json:"flat"`
	Words []string `json:"words"`
}

// What counts as flat: the median of the last third may exceed that of the middle third by so much. Memory moves with
// the collector, and each fault leaves sessions behind that take a while to be gone.
const factor, memorySlack, countSlack = 1.15, 8 << 20, 12

// minFlat is the least time that is judged.
const minFlat = 30 * time.Second

// flatness judges each process's last incarnation, where it lived long enough.
func flatness(samples [][]Sample) *Flatness {
	out := &Flatness{Flat: true}
	judged := 0
	for i, all := range samples {
		if len(all) == 0 {
			continue
		}
		last := all[len(all)-1].Generation
		all = all[slices.IndexFunc(all, func(s Sample) bool { return s.Generation == last }):]
		if all[len(all)-1].At-all[0].At < minFlat {
			continue
		}
		judged++
		for _, measure := range []struct {
			name        string
			of          func(Sample) float64
			slack, unit float64
			word        string
		}{
			{"memory", func(s Sample) float64 { return float64(s.Resident) }, memorySlack, 1 << 20, " MB"},
			{"goroutines", func(s Sample) float64 { return float64(s.Goroutines) }, countSlack, 1, ""},
			{"descriptors", func(s Sample) float64 { return float64(s.Descriptors) }, countSlack, 1, ""},
		} {
			n := len(all)
			middle, end := median(all[n/3:2*n/3], measure.of), median(all[2*n/3:], measure.of)
			flat := end <= middle*factor+measure.slack
			out.Flat = out.Flat && flat
			verdict := "flat"
			if !flat {
				verdict = "NOT FLAT"
			}
			out.Words = append(out.Words, fmt.Sprintf("process %d, %s: %.0f%s in the middle, %.0f%s at the end: %s", i+1, measure.name,
				middle/measure.unit, measure.word, end/measure.unit, measure.word, verdict))
		}
	}
	if judged == 0 {
		return nil
	}
	return out
}

func median(samples []Sample, of func(Sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// SetSamples adds what the processes used over time, and judges it.
func (r *Report) SetSamples(samples [][]Sample) { r.Samples, r.Flat = samples, flatness(samples) }
