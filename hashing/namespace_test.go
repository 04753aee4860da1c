package hashing_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

// encoded returns what a namespaced function hands to the function beneath it.
// Whether two pairs can meet is decided there, before any hash is taken.
func encoded(namespace, name string) string {
	var got string
	hashing.Namespaced(namespace, func(s string) int64 { got = s; return 0 })(name)
	return got
}

type pair struct{ namespace, name string }

// decode takes an encoding apart again. That it can, for every pair, is the
// proof that no two pairs share one.
func decode(s string) (pair, bool) {
	s, ok := strings.CutPrefix(s, "\x1f")
	if !ok {
		return pair{}, false
	}
	digits, rest, ok := strings.Cut(s, ":")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n > len(rest) {
		return pair{}, false
	}
	return pair{rest[:n], rest[n:]}, true
}

// The encoding is part of the protocol between processes, and SQL writes it by
// hand, so it is spelled out here.
func TestNamespacedEncoding(t *testing.T) {
	for _, c := range []struct{ namespace, name, want string }{
		{"", "orders/42", "orders/42"},
		{"", "", ""},
		{"a", "bc", "\x1f1:abc"},
		{"ab", "c", "\x1f2:abc"},
		{"tenant-7", "orders/42", "\x1f8:tenant-7orders/42"},
		{"tenant-7", "", "\x1f8:tenant-7"},
		{"Zürich", "a", "\x1f7:Züricha"},
		{"\x00\xff", "\x00", "\x1f2:\x00\xff\x00"},
	} {
		if got := encoded(c.namespace, c.name); got != c.want {
			t.Errorf("(%q, %q) is encoded as %q, want %q", c.namespace, c.name, got, c.want)
		}
	}
}

func TestNamespacedPairsNeverMeet(t *testing.T) {
	pairs := []pair{
		{"", ""}, {"", "a"}, {"", "abc"}, {"", "a:bc"}, {"", "1:abc"}, {"", "\x1f"}, {"", "\x00abc"},
		{"a", ""}, {"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"a", "bca"}, {"bca", ""},
		{"1", "2:ab"}, {"12", ":ab"}, {"1:", "ab"}, {"1:a", "b"},
		{"1", "1:11"}, {"11", "1"}, {"111", ""}, {"1", "11"},
		{":", ":"}, {"::", ""}, {":", ""}, {"\x1f", "1:ab"}, {"\x1f1:a", "b"}, {"\x1f", ""},
		{"\x00", ""}, {"\x00", "\x00"}, {"\x00\x00", ""}, {" ", "a"}, {"", " a"}, {" a", ""},
		{strings.Repeat("a", 9), "a"}, {strings.Repeat("a", 10), ""}, {strings.Repeat("a", 99), "a"},
		{strings.Repeat("a", 100), ""}, {"0", "123456789x"}, {"0123456789", "x"}, {"123456789x", ""}, {"tenant", "7/orders"}, {"tenant/7", "orders"}, {"tenant/7/", "orders"},
	}
	ids := make(map[string]map[int64]pair)
	encodings := make(map[string]pair)
	for _, p := range pairs {
		e := encoded(p.namespace, p.name)
		if other, met := encodings[e]; met {
			t.Errorf("%q and %q are both encoded as %q", p, other, e)
		}
		encodings[e] = p
		for label, f := range map[string]hashing.Func{
			"FNV1a":    hashing.NamespacedFNV1a(p.namespace),
			"Postgres": hashing.Namespaced(p.namespace, hashing.Postgres),
			"Keyed":    hashing.Namespaced(p.namespace, mustKeyed(t, "0123456789abcdef")),
		} {
			if ids[label] == nil {
				ids[label] = make(map[int64]pair)
			}
			id := f(p.name)
			if other, met := ids[label][id]; met {
				t.Errorf("%s: %q and %q have one id, %d", label, p, other, id)
			}
			ids[label][id] = p
		}
	}
}

func TestNestedNamespaces(t *testing.T) {
	outer := func(a, b string) string {
		var got string
		record := func(s string) int64 { got = s; return 0 }
		hashing.Namespaced(b, hashing.Namespaced(a, record))("x")
		return got
	}
	if outer("a", "b") == outer("b", "a") || outer("a", "bc") == outer("ab", "c") {
		t.Error("nested namespaces meet")
	}
}

// The precomputed state has to be an optimisation and nothing else.
func TestNamespacedFNV1aEqualsNamespaced(t *testing.T) {
	for _, namespace := range anyBytes {
		fast, slow, byNil := hashing.NamespacedFNV1a(namespace), hashing.Namespaced(namespace, hashing.FNV1a), hashing.Namespaced(namespace, nil)
		for _, name := range []string{"", "a", "orders/42", "\x00\xff"} {
			want := slow(name)
			if got := fast(name); got != want {
				t.Errorf("NamespacedFNV1a(%.40q)(%q) = %d, want %d", namespace, name, got, want)
			}
			if got := byNil(name); got != want {
				t.Errorf("Namespaced(%.40q, nil)(%q) = %d, want %d", namespace, name, got, want)
			}
		}
	}
}

func TestEmptyNamespaceLeavesNamesAlone(t *testing.T) {
	for _, name := range anyBytes {
		if got, want := hashing.NamespacedFNV1a("")(name), hashing.FNV1a(name); got != want {
			t.Errorf("NamespacedFNV1a(%q)(%.40q) = %d, want %d", "", name, got, want)
		}
		if got, want := hashing.Namespaced("", hashing.Postgres)(name), hashing.Postgres(name); got != want {
			t.Errorf("Namespaced(%q, Postgres)(%.40q) = %d, want %d", "", name, got, want)
		}
	}
}

func FuzzNamespaced(f *testing.F) {
	f.Add("a", "bc", "ab", "c")
	f.Add("", "\x1f1:ab", "a", "b")
	f.Add("1", "2:ab", "12", ":ab")
	f.Add("\x00", "", "", "\x00")
	f.Add("\xff", "\xfe", "tenant/7", "orders/42")
	f.Fuzz(func(t *testing.T, namespaceA, nameA, namespaceB, nameB string) {
		a, b := pair{namespaceA, nameA}, pair{namespaceB, nameB}
		checkPair(t, a)
		checkPair(t, b)
		checkMeeting(t, a, b)
		// Random pairs hardly ever come near each other; the same bytes cut at
		// another place do.
		joined := namespaceA + nameA
		for cut := 0; cut <= min(len(joined), 64); cut++ {
			checkMeeting(t, a, pair{joined[:cut], joined[cut:]})
		}
	})
}

func checkPair(t *testing.T, p pair) {
	t.Helper()
	e := encoded(p.namespace, p.name)
	if p.namespace == "" {
		if e != p.name {
			t.Errorf("without a namespace %q became %q", p.name, e)
		}
		return
	}
	if got, ok := decode(e); !ok || got != p {
		t.Errorf("%q was encoded as %q, which reads as %q (%v)", p, e, got, ok)
	}
	if got, want := hashing.NamespacedFNV1a(p.namespace)(p.name), hashing.FNV1a(e); got != want {
		t.Errorf("NamespacedFNV1a(%q)(%q) = %d, want %d", p.namespace, p.name, got, want)
	}
}

func checkMeeting(t *testing.T, a, b pair) {
	t.Helper()
	met := encoded(a.namespace, a.name) == encoded(b.namespace, b.name)
	if met == (a == b) {
		return
	}
	// The one meeting that cannot be ruled out while plain names stay as they
	// are: a name without a namespace that is itself a whole encoding.
	bare := a
	if bare.namespace != "" {
		bare = b
	}
	if _, spelled := decode(bare.name); met && bare.namespace == "" && spelled {
		return
	}
	t.Errorf("%q and %q: meeting is %v", a, b, met)
}
