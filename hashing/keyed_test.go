package hashing_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

func mustKeyed(t testing.TB, secret string) hashing.Func {
	t.Helper()
	f, err := hashing.Keyed([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The first five are the test cases of RFC 4231 whose key is long enough, the
// others come from the openssl command line; all are cut to their first 8 bytes.
func TestKeyedIsTruncatedHMACSHA256(t *testing.T) {
	for _, v := range []struct {
		secret, name string
		want         uint64
	}{
		{strings.Repeat("\x0b", 20), "Hi There", 0xb0344c61d8db3853},
		{strings.Repeat("\xaa", 20), strings.Repeat("\xdd", 50), 0x773ea91e36800e46},
		{"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19", strings.Repeat("\xcd", 50), 0x82558a389a443c0e},
		{strings.Repeat("\xaa", 131), "Test Using Larger Than Block-Size Key - Hash Key First", 0x60e431591ee0b67f},
		{strings.Repeat("\xaa", 131), "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.", 0x9b09ffa71b942fcb},
		{"0123456789abcdef", "orders/42", 0x798da19cb84ce55b},
		{"0123456789abcdef", "", 0x496dc93fa2d26eae},
		{"0123456789abcdef", "a\x00\xffb", 0x5f8e8a83e149e575},
	} {
		if got := uint64(mustKeyed(t, v.secret)(v.name)); got != v.want {
			t.Errorf("Keyed(%d bytes)(%.40q) = %#016x, want %#016x", len(v.secret), v.name, got, v.want)
		}
	}
}

func TestKeyedRefusesShortSecrets(t *testing.T) {
	const secret = "hunter2-hunter2-"
	for n := range hashing.MinSecretLen {
		f, err := hashing.Keyed([]byte(secret[:n]))
		if !errors.Is(err, hashing.ErrShortSecret) || f != nil {
			t.Fatalf("a secret of %d bytes: %v", n, err)
		}
		if strings.Contains(err.Error(), "hunter") {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	if _, err := hashing.Keyed(nil); !errors.Is(err, hashing.ErrShortSecret) {
		t.Errorf("no secret: %v", err)
	}
	if _, err := hashing.Keyed([]byte(secret)); err != nil {
		t.Errorf("a secret of %d bytes: %v", len(secret), err)
	}
}

func TestKeyedCopiesTheSecret(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	f, err := hashing.Keyed(secret)
	if err != nil {
		t.Fatal(err)
	}
	before := f("orders/42")
	clear(secret)
	if after := f("orders/42"); after != before {
		t.Errorf("the id went from %d to %d when the caller wiped its secret", before, after)
	}
}

func TestKeyedDependsOnTheSecret(t *testing.T) {
	a, b := mustKeyed(t, "0123456789abcdef"), mustKeyed(t, "0123456789abcdeg")
	if a("orders/42") == b("orders/42") {
		t.Error("two secrets give one id")
	}
}
