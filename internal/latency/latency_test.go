package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestEveryValueLiesInItsBucket(t *testing.T) {
	for _, v := range []uint64{0, 1, 63, 64, 65, 127, 128, 129, 1000, 1 << 20, 1<<40 + 12345, 1<<63 - 1} {
		i := bucket(v)
		if upper(i) < v || i > 0 && upper(i-1) >= v {
			t.Errorf("%d is in bucket %d, which holds %d to %d", v, i, upper(i-1)+1, upper(i))
		}
	}
}

func TestPercentilesAgainstSortedValues(t *testing.T) {
	var h Histogram
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]time.Duration, 10_000)
	for i := range values {
		values[i] = time.Duration(math.Exp(rng.Float64()*20)) + time.Duration(i%3) // from nanoseconds to half a second
		h.Record(values[i])
	}
	slices.Sort(values)
	p := h.Percentiles()
	for _, c := range []struct {
		name string
		got  time.Duration
		rank int
	}{{"p50", p.P50, 5000}, {"p90", p.P90, 9000}, {"p99", p.P99, 9900}, {"p99.9", p.P999, 9990}} {
		want := values[c.rank-1]
		if c.got < want || float64(c.got) > float64(want)*1.016+1 {
			t.Errorf("%s is %v, the sorted values say %v", c.name, c.got, want)
		}
	}
	if p.Count != 10_000 || p.Max != values[len(values)-1] {
		t.Errorf("count %d, max %v", p.Count, p.Max)
	}
}

func TestEveryBucketEndsWhereTheNextBegins(t *testing.T) {
	for i := range buckets - 1 {
		if end := upper(i); bucket(end) != i || bucket(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d; the next value is in %d", i, end, bucket(end), bucket(end+1))
		}
	}
}

func TestAtTheEdges(t *testing.T) {
	var h Histogram
	if p := h.Percentiles(); p != (Percentiles{}) {
		t.Errorf("empty: %+v", p)
	}
	h.Record(-time.Second)
	if p := h.Percentiles(); p.Count != 1 || p.Max != 0 || p.P50 != 0 {
		t.Errorf("negative: %+v", p)
	}
	h.Record(math.MaxInt64)
	if p := h.Percentiles(); p.P99 != math.MaxInt64 || p.Max != math.MaxInt64 {
		t.Errorf("the longest: %+v", p)
	}
}

func TestUptoAgainstAllValues(t *testing.T) {
	var h Histogram
	bounds := []time.Duration{0, 10, 1000, time.Millisecond, time.Second}
	want := make([]uint64, len(bounds))
	var all time.Duration
	for _, d := range []time.Duration{0, 5, 500, 990_000, 500 * time.Millisecond, time.Hour, math.MaxInt64 / 4} {
		h.Record(d)
		all += d
		for i, bound := range bounds {
			if d <= bound {
				want[i]++
			}
		}
	}
	counts, count, sum := h.Upto(bounds)
	if !slices.Equal(counts, want) || count != 7 || sum != all {
		t.Errorf("%v, %d, %v; should be %v, 7, %v", counts, count, sum, want, all)
	}
}
