// Package latency counts durations in buckets, so that percentiles can be had at any time without keeping each value.
package latency

import (
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
