package hashing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

const (
	namesPerShape = 250_000
	bucketBits    = 10
	buckets       = 1 << bucketBits
)

type shape struct {
	label string
	// counting says that neighbours in the list differ in their last digits only.
	counting bool
	names    []string
}

// realisticNames has a million different names in four shapes that programs
// use. They are the same in every run, so that no test on them can be flaky.
var realisticNames = sync.OnceValue(func() []shape {
	random := rand.New(rand.NewPCG(1, 2))
	user := func(int) string {
		hi, lo := random.Uint64(), random.Uint64()
		return fmt.Sprintf("user:%08x-%04x-4%03x-%04x-%012x",
			hi>>32, hi>>16&0xffff, hi&0xfff, lo>>48&0x3fff|0x8000, lo&0xffffffffffff)
	}
	build := func(label string, counting bool, name func(i int) string) shape {
		s := shape{label: label, counting: counting}
		for i := range namesPerShape {
			s.names = append(s.names, name(i))
		}
		return s
	}
	return []shape{
		build("user", false, user),
		build("orders", true, func(i int) string { return fmt.Sprintf("orders/%d", i) }),
		build("job", true, func(i int) string { return fmt.Sprintf("tenant/%d/job/%d", i%997, i) }),
		build("invoice", true, func(i int) string { return fmt.Sprintf("invoice-2026-%02d-%02d-%06d", i%12+1, i%28+1, i) }),
	}
})

// Keyed is not here: its golden values show that it is HMAC-SHA-256, whose
// spread is not for us to test.
func TestDistributionOfAMillionNames(t *testing.T) {
	for _, c := range []struct {
		label string
		f     hashing.Func
		fnv   bool
	}{
		{"FNV1a", hashing.FNV1a, true},
		{"NamespacedFNV1a", hashing.NamespacedFNV1a("tenant-7"), true},
		{"Postgres", hashing.Postgres, false},
	} {
		t.Run(c.label, func(t *testing.T) {
			var all []uint64
			for _, s := range realisticNames() {
				ids := make([]uint64, len(s.names))
				for i, name := range s.names {
					ids[i] = uint64(c.f(name))
				}
				checkBuckets(t, s.label+" by low bits", ids, 0)
				// FNV-1a's last bytes reach the top of an id by carries alone, so
				// names that count upwards cluster there by nature, as the
				// documentation says. Which of them do and how much depends on
				// what stands in front, so there is no bound to hold them to.
				if !c.fnv || !s.counting {
					checkBuckets(t, s.label+" by high bits", ids, 64-bucketBits)
				}
				all = append(all, ids...)
			}
			checkNoCollision(t, all)
		})
	}
}

// checkNoCollision: a million ids out of 2^64 meet with a chance of n^2/2/2^64,
// one in 37 million, if they are spread by chance.
func checkNoCollision(t *testing.T, ids []uint64) {
	t.Helper()
	if len(ids) != 1_000_000 {
		t.Fatalf("%d names, want a million", len(ids))
	}
	slices.Sort(ids)
	if different := len(slices.Compact(ids)); different != 1_000_000 {
		t.Errorf("a million names have %d ids", different)
	}
}

// checkBuckets counts ids by the bits from shift on and compares chi-squared
// with what chance allows. Ids that are spread by chance have df = buckets-1
// degrees of freedom, and by Wilson and Hilferty the cube root of
// chi-squared/df is then normal with mean 1-2/(9 df) and variance 2/(9 df). Six
// standard deviations above the mean, 1.289 df for df = 1023, are passed by
// chance once in a billion. There is no bound below: ids that are more even
// than chance would have them are welcome.
func checkBuckets(t *testing.T, label string, ids []uint64, shift int) {
	t.Helper()
	const df = buckets - 1
	bound := df * math.Pow(1-2.0/(9*df)+6*math.Sqrt(2.0/(9*df)), 3)

	var counts [buckets]int
	for _, id := range ids {
		counts[id>>shift%buckets]++
	}
	mean := float64(len(ids)) / buckets
	chiSquared := 0.0
	for _, n := range counts {
		d := float64(n) - mean
		chiSquared += d * d / mean
	}
	if chiSquared > bound {
		t.Errorf("%s: chi-squared is %.0f, more than %.0f", label, chiSquared, bound)
	}
}
