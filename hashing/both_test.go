package hashing_test

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

func TestBoth(t *testing.T) {
	p := hashing.Both(hashing.FNV1a, hashing.Postgres)
	for _, name := range deterministicNames {
		if before, after := p.Old(name), p.New(name); before != hashing.FNV1a(name) || after != hashing.Postgres(name) {
			t.Errorf("%.40q has the ids %d and %d", name, before, after)
		}
	}
	// A nil function is FNV-1a, as everywhere.
	p = hashing.Both(nil, nil)
	if before, after := p.Old("orders/42"), p.New("orders/42"); before != hashing.FNV1a("orders/42") || after != before {
		t.Errorf("of no functions: %d and %d", before, after)
	}
}
