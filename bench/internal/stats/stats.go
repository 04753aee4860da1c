package stats

import "slices"

// Summary is the middle and the ends of what the rounds gave.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Summarise returns zeros for no values. The median of an even number of values is the mean of the middle two.
func Summarise(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	median := sorted[half]
	if len(sorted)%2 == 0 {
		median = (sorted[half-1] + sorted[half]) / 2
	}
	return Summary{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// Median is Summarise's.
func Median(values []float64) float64 { return Summarise(values).Median }

// Ratio is a to b, and 0 where there is no b: a ratio that cannot be had is not shown.
func Ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

// Jain is the fairness index of shares: 1 where all are alike, 1/n where one has everything. Of nothing it is 0.
func Jain(shares []float64) float64 {
	var sum, squares float64
	for _, s := range shares {
		sum += s
		squares += s * s
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(shares)) * squares)
}

// MinShare is the smallest share as a part of the mean.
func MinShare(shares []float64) float64 {
	var sum float64
	for _, s := range shares {
		sum += s
	}
	if sum == 0 {
		return 0
	}
	return slices.Min(shares) / (sum / float64(len(shares)))
}
