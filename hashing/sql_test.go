package hashing_test

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

func TestPostgresEqualsTheServer(t *testing.T) {
	for _, g := range postgresGolden() {
		if got := hashing.Postgres(g.name); got != g.want[0] {
			t.Errorf("Postgres(%.60q, %d bytes) = %d, the server says %d", g.name, len(g.name), got, g.want[0])
		}
		for i, seed := range postgresSeeds {
			if got := hashing.PostgresSeed(seed)(g.name); got != g.want[i] {
				t.Errorf("PostgresSeed(%d)(%.60q, %d bytes) = %d, the server says %d", seed, g.name, len(g.name), got, g.want[i])
			}
		}
	}
}

// Each way that the last, incomplete block can end is another branch, with a
// whole block in front and without, so the golden values have to have them all.
func TestPostgresGoldenLengths(t *testing.T) {
	seen := make(map[int]bool)
	for _, g := range postgresGolden() {
		seen[len(g.name)] = true
	}
	for n := range 41 {
		if !seen[n] {
			t.Errorf("no golden value for a name of %d bytes", n)
		}
	}
}

// The server was asked for
//
//	hashtextextended(chr(31) || octet_length(ns) || ':' || ns || name, 0)
//
// with these values in columns of a table.
func TestNamespacedPostgresEqualsTheServer(t *testing.T) {
	for _, g := range []struct {
		namespace, name string
		want            int64
	}{
		{"tenant-7", "orders/42", -6305395856906523310},
		{"Zürich", "orders/42", -3428091069287891185},
	} {
		if got := hashing.Namespaced(g.namespace, hashing.Postgres)(g.name); got != g.want {
			t.Errorf("(%q, %q) = %d, the server says %d", g.namespace, g.name, got, g.want)
		}
	}
}
