package stats

import (
	"math"
	"slices"
	"testing"
	"time"

	"math/rand/v2"
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

func TestPercentilesAreCloseAboveTheTrueOnes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	values := make([]time.Duration, 10_001)
	for i := range values {
		values[i] = time.Duration(math.Exp(random.Float64()*20)) + time.Duration(i%3)
		h.Record(values[i])
	}
	slices.Sort(values)
	for _, part := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		rank := max(int(math.Ceil(part*float64(len(values)))), 1)
		exact, got := values[rank-1], h.Percentile(part)
		if got < exact || float64(got) > float64(exact)*1.016+1 {
			t.Errorf("percentile %v is %v, want %v or up to 1.6 %% more", part, got, exact)
		}
	}
}

func TestPercentilesAtTheEdges(t *testing.T) {
	var h Histogram
	if got := h.Percentile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	h.Record(-time.Second)
	if got := h.Percentile(1); got != 0 {
		t.Errorf("a negative duration counts as %v, want 0", got)
	}
	h.Record(math.MaxInt64)
	if got := h.Percentile(1); got != math.MaxInt64 {
		t.Errorf("the longest duration is %v", got)
	}
}

func TestEveryBucketEndsWhereTheNextBegins(t *testing.T) {
	for i := range buckets - 1 {
		if end := upper(i); bucket(end) != i || bucket(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d; the next value is in %d", i, end, bucket(end), bucket(end+1))
		}
	}
}
