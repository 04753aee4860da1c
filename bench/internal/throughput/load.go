package throughput

import (
	"context"
	"fmt"
	"math/rand"
	"strconv"

	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// Load says who wants which keys.
type Load struct {
	Goroutines int
	Keys       int
	// Skew, where set, is the exponent by which goroutines choose keys; else goroutine i has key i (modulo Keys).
	Skew float64
}

// Distinct says that no two goroutines want the same key.
func (l Load) Distinct() bool { return l.Skew == 0 && l.Keys >= l.Goroutines }

// Limiter is a system that makes the load itself: one that shows what can be had at most, and is no lock system.
type Limiter interface {
	Limit(ctx context.Context, s scenario.Setup, l Load) (scenario.Result, error)
}

// Key is the name of the i-th key.
func Key(i int) string { return "bench/orders/" + strconv.Itoa(i) }

// chooser returns which key goroutine g wants next. Its choices are the same in each run.
func (l Load) chooser(g int) func() int {
	if l.Skew == 0 {
		key := g % l.Keys
		return func() int { return key }
	}
	//nolint:gosec // no secret: the choices have to be the same in each run
	zipf := rand.NewZipf(rand.New(rand.NewSource(int64(g))), l.Skew, 1, uint64(l.Keys-1))
	return func() int { return int(zipf.Uint64()) }
}

func (l Load) String() string {
	return fmt.Sprintf("%d goroutines over %d keys", l.Goroutines, l.Keys)
}
