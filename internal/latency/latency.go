// Package latency counts durations in buckets, so that percentiles can be had at any time without keeping each value.
package latency

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets are log-linear, as in HDR histograms: within each power of two of nanoseconds there are 64 of equal width, so a
// percentile is at most 1.6 % above the true value. All of them take 30 KB.
const (
	subBits = 6
	sub     = 1 << subBits
	buckets = (64 - subBits + 1) * sub
)

// Histogram may be used from many goroutines. The zero value is ready.
type Histogram struct {
	counts [buckets]atomic.Uint64
	max    atomic.Int64
	sum    atomic.Int64
}

// Percentiles are upper bounds of the buckets that hold them.
type Percentiles struct {
	Count                    uint64
	P50, P90, P99, P999, Max time.Duration
}

func bucket(v uint64) int {
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return (shift+1)*sub + int(v>>shift) - sub
}

// upper is the largest value that bucket i holds.
func upper(i int) uint64 {
	if i < sub {
		return uint64(i)
	}
	shift := i/sub - 1
	return (uint64(i%sub+sub)+1)<<shift - 1
}

// Record counts one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))].Add(1)
	h.sum.Add(int64(d))
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// Percentiles reads the histogram. What is recorded meanwhile may or may not be in it.
func (h *Histogram) Percentiles() Percentiles {
	var counts [buckets]uint64
	var total uint64
	for i := range counts {
		counts[i] = h.counts[i].Load()
		total += counts[i]
	}
	p := Percentiles{Count: total, Max: time.Duration(h.max.Load())}
	at := func(perMille uint64) time.Duration {
		rank := (total*perMille + 999) / 1000
		var seen uint64
		for i, n := range counts {
			if seen += n; n > 0 && seen >= rank {
				return min(time.Duration(upper(i)), p.Max)
			}
		}
		return 0
	}
	p.P50, p.P90, p.P99, p.P999 = at(500), at(900), at(990), at(999)
	return p
}

// Upto counts the durations up to each of bounds, which ascend, and adds all up. A duration that is at most 1.6 % below a bound may be counted
// above it.
func (h *Histogram) Upto(bounds []time.Duration) (counts []uint64, count uint64, sum time.Duration) {
	counts = make([]uint64, len(bounds))
	next := 0
	for i := range h.counts {
		n := h.counts[i].Load()
		if n == 0 {
			continue
		}
		for next < len(bounds) && time.Duration(min(upper(i), math.MaxInt64)) > bounds[next] {
			counts[next] = count
			next++
		}
		count += n
	}
	for ; next < len(bounds); next++ {
		counts[next] = count
	}
	return counts, count, time.Duration(h.sum.Load())
}
