package hashing_test

import (
	"hash/fnv"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

// anyBytes are names that a careless implementation would trim, cut, fold or
// refuse. Every function of the package has to take them as they are.
var anyBytes = []string{
	"", "\x00", "\x00\x00", "a\x00", "a\x00b", "\xff", "\xff\xfe", "orders/\xc3", "\xed\xa0\x80",
	" ", "a", "a ", " a", "A", "é", "e\u0301", "\ufeffa", "\x1f", "\x1f1:ab", strings.Repeat("x", 1<<20),
	strings.Repeat("x", 1<<20) + "\x00",
}

func referenceFNV1a(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return int64(h.Sum64())
}

// The vectors are those that the authors of FNV publish with it, the values as
// unsigned hexadecimal numbers as they print them.
func TestFNV1aOfficialVectors(t *testing.T) {
	for _, v := range []struct {
		name string
		want uint64
	}{
		{"", 0xcbf29ce484222325},
		{"a", 0xaf63dc4c8601ec8c},
		{"b", 0xaf63df4c8601f1a5},
		{"c", 0xaf63de4c8601eff2},
		{"d", 0xaf63d94c8601e773},
		{"e", 0xaf63d84c8601e5c0},
		{"f", 0xaf63db4c8601ead9},
		{"fo", 0x08985907b541d342},
		{"foo", 0xdcb27518fed9d577},
		{"foob", 0xdd120e790c2512af},
		{"fooba", 0xcac165afa2fef40a},
		{"foobar", 0x85944171f73967e8},
		{"\x00", 0xaf63bd4c8601b7df},
		{"chongo was here!\n", 0x46810940eff5f915},
	} {
		if got := uint64(hashing.FNV1a(v.name)); got != v.want {
			t.Errorf("FNV1a(%q) = %#016x, want %#016x", v.name, got, v.want)
		}
	}
}

func TestFNV1aEqualsStandardLibrary(t *testing.T) {
	for _, name := range anyBytes {
		if got, want := hashing.FNV1a(name), referenceFNV1a(name); got != want {
			t.Errorf("FNV1a(%.40q, %d bytes) = %d, hash/fnv says %d", name, len(name), got, want)
		}
	}
}

// These pairs were searched for: they are what other packages use to show that
// two names with one id meet in one keeper, so they have to collide in truth.
func TestFNV1aRealCollisions(t *testing.T) {
	for _, pair := range [][2]string{
		{"8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"},
		{"gMPflVXtwGDXbIhP73TX", "LtHf1prlU1bCeYZEdqWf"},
		{"pFuM83THhM-Qw8FI5FKo", ".jPx7rOtTDteKAwvfOEo"},
		{"7mohtcOFVz", "c1E51sSEyx"},
		{"6a5x-VbtXk", "f_2k7GG-4v"},
	} {
		a, b := pair[0], pair[1]
		if a == b {
			t.Errorf("%q is paired with itself", a)
		}
		if hashing.FNV1a(a) != hashing.FNV1a(b) {
			t.Errorf("FNV1a(%q) = %d and FNV1a(%q) = %d do not collide", a, hashing.FNV1a(a), b, hashing.FNV1a(b))
		}
		// What the names' collision rests on is FNV-1a, so another function parts them.
		if hashing.Postgres(a) == hashing.Postgres(b) {
			t.Errorf("Postgres(%q) and Postgres(%q) collide too", a, b)
		}
		keyed := mustKeyed(t, "0123456789abcdef")
		if keyed(a) == keyed(b) {
			t.Errorf("Keyed(%q) and Keyed(%q) collide too", a, b)
		}
	}
}

func TestEveryFunctionTakesAnyBytes(t *testing.T) {
	funcs, err := allFuncs()
	if err != nil {
		t.Fatal(err)
	}
	for label, f := range funcs {
		t.Run(label, func(t *testing.T) {
			seen := make(map[int64]string, len(anyBytes))
			for _, name := range anyBytes {
				id := f(name)
				if other, met := seen[id]; met {
					t.Errorf("%.40q and %.40q have one id, %d", name, other, id)
				}
				seen[id] = name
			}
		})
	}
}

func TestZeroAllocations(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	for label, f := range map[string]hashing.Func{
		"FNV1a":                       hashing.FNV1a,
		"Postgres":                    hashing.Postgres,
		"PostgresSeed":                hashing.PostgresSeed(7),
		"NamespacedFNV1a":             hashing.NamespacedFNV1a("tenant-7"),
		"Namespaced with nil":         hashing.Namespaced("tenant-7", nil),
		"Namespaced with no prefix":   hashing.Namespaced("", hashing.FNV1a),
		"Namespaced with no argument": hashing.Namespaced("", nil),
	} {
		for _, name := range []string{"", "orders/42", long} {
			var sink int64
			if n := testing.AllocsPerRun(100, func() { sink ^= f(name) }); n != 0 {
				t.Errorf("%s allocates %v times for a name of %d bytes", label, n, len(name))
			}
		}
	}
}

func FuzzFNV1a(f *testing.F) {
	for _, name := range anyBytes {
		if len(name) < 1<<10 {
			f.Add(name)
		}
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, want := hashing.FNV1a(name), referenceFNV1a(name); got != want {
			t.Errorf("FNV1a(%q) = %d, hash/fnv says %d", name, got, want)
		}
	})
}
