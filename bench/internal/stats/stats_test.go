package stats

import (
	"math"
	"slices"
	"testing"
)

func TestSummaries(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Summary
	}{
		{nil, Summary{}},
		{[]float64{3}, Summary{3, 3, 3}},
		{[]float64{9, 1, 5}, Summary{5, 1, 9}},
		{[]float64{4, 1, 9, 2}, Summary{3, 1, 9}},
	} {
		given := slices.Clone(c.values)
		if got := Summarise(given); got != c.want {
			t.Errorf("Summarise(%v) = %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(given, c.values) {
			t.Errorf("Summarise changed its argument %v to %v", c.values, given)
		}
	}
}

func TestRatioOfNothingIsNotShown(t *testing.T) {
	if got := Ratio(10, 4); got != 2.5 {
		t.Errorf("Ratio(10, 4) = %v", got)
	}
	if got := Ratio(10, 0); got != 0 {
		t.Errorf("Ratio(10, 0) = %v, want 0", got)
	}
}

func TestFairness(t *testing.T) {
	for _, c := range []struct {
		shares    []float64
		jain, min float64
	}{
		{[]float64{5, 5, 5, 5}, 1, 1},
		{[]float64{8, 0, 0, 0}, 0.25, 0},
		{[]float64{1, 3}, 0.8, 0.5}, // (1+3)^2 / (2*(1+9)) and 1/2
		{[]float64{0, 0}, 0, 0},
		{nil, 0, 0},
	} {
		if got := Jain(c.shares); math.Abs(got-c.jain) > 1e-12 {
			t.Errorf("Jain(%v) = %v, want %v", c.shares, got, c.jain)
		}
		if got := MinShare(c.shares); math.Abs(got-c.min) > 1e-12 {
			t.Errorf("MinShare(%v) = %v, want %v", c.shares, got, c.min)
		}
	}
}
