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
const (
	memoryFactor, memorySlack = 1.15, 8 << 20
	countFactor, countSlack   = 1.15, 12
)

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
			name          string
			of            func(Sample) float64
			factor, slack float64
			unit          float64
			word          string
		}{
			{"memory", func(s Sample) float64 { return float64(s.Resident) }, memoryFactor, memorySlack, 1 << 20, " MB"},
			{"goroutines", func(s Sample) float64 { return float64(s.Goroutines) }, countFactor, countSlack, 1, ""},
			{"descriptors", func(s Sample) float64 { return float64(s.Descriptors) }, countFactor, countSlack, 1, ""},
		} {
			middle, end := thirds(all, measure.of)
			flat := end <= middle*measure.factor+measure.slack
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

func thirds(samples []Sample, of func(Sample) float64) (middle, end float64) {
	n := len(samples)
	return median(samples[n/3:2*n/3], of), median(samples[2*n/3:], of)
}

func median(samples []Sample, of func(Sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// SetSamples adds what the processes used over time, and judges it.
func (r *Report) SetSamples(samples [][]Sample, judge bool) {
	r.Samples, r.FlatJudged = samples, judge
	r.Flat = flatness(samples)
}
