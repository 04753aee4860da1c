package hashing_test

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

func BenchmarkFuncs(b *testing.B) {
	names := []struct{ label, name string }{
		{"short", "orders/42"},
		{"uuid", "user:6f9619ff-8b86-4d01-b42d-00cf4fc964ff"},
		{"4KiB", strings.Repeat("x", 4<<10)},
	}
	keyed := mustKeyed(b, "0123456789abcdef")
	for _, c := range []struct {
		label string
		f     hashing.Func
	}{
		{"FNV1a", hashing.FNV1a},
		{"NamespacedFNV1a", hashing.NamespacedFNV1a("tenant-7")},
		{"Namespaced_FNV1a", hashing.Namespaced("tenant-7", hashing.FNV1a)},
		{"Postgres", hashing.Postgres},
		{"Keyed", keyed},
	} {
		for _, n := range names {
			b.Run(c.label+"/"+n.label, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(n.name)))
				for b.Loop() {
					c.f(n.name)
				}
			})
		}
	}
}
