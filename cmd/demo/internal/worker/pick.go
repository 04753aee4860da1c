package worker

import (
	"fmt"
	"math/rand/v2"
)

// Skews are the ways to spread the load over the keys.
var Skews = []string{"uniform", "zipf"}

// zipfExponent makes the first of 50 keys take about a quarter of the load.
const zipfExponent = 1.1

// newPicker returns a function that draws the next key. It is for one goroutine.
func newPicker(skew string, keys int) func() int {
	source := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	if skew == "zipf" {
		zipf := rand.NewZipf(source, zipfExponent, 1, uint64(keys-1))
		return func() int { return int(zipf.Uint64()) }
	}
	return func() int { return source.IntN(keys) }
}

// keyName is the lock's name. The namespace keeps it apart from another run's.
func keyName(key int) string { return fmt.Sprintf("demo/key-%05d", key) }
