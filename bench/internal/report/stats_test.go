package report

import (
	"slices"
	"testing"
)

func TestSummaries(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   summary
	}{
		{nil, summary{}},
		{[]float64{3}, summary{3, 3, 3}},
		{[]float64{9, 1, 5}, summary{5, 1, 9}},
		{[]float64{4, 1, 9, 2}, summary{3, 1, 9}},
	} {
		given := slices.Clone(c.values)
		if got := summarise(given); got != c.want {
			t.Errorf("summarise(%v) = %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(given, c.values) {
			t.Errorf("Summarise changed its argument %v to %v", c.values, given)
		}
	}
}
