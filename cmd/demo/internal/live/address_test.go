package live

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"auto": "127.0.0.1:0", "8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "0": "127.0.0.1:0", "localhost:8080": "127.0.0.1:8080",
		"127.0.0.1:8080": "127.0.0.1:8080", "127.1.2.3:80": "127.1.2.3:80", "[::1]:8080": "[::1]:8080", "[::ffff:127.0.0.1]:1": "127.0.0.1:1",
	} {
		a, err := ParseAddress(text)
		if err != nil || a.String() != want || !a.Local() {
			t.Errorf("%q is %v (%v), want %s, for this machine alone", text, a, err, want)
		}
	}
	for text, url := range map[string]string{
		"0.0.0.0:8080": "http://127.0.0.1:8080/", "[::]:8080": "http://127.0.0.1:8080/", "192.0.2.7:80": "http://192.0.2.7:80/", "[2001:db8::7]:80": "http://[2001:db8::7]:80/",
	} {
		a, err := ParseAddress(text)
		if err != nil || a.Local() || a.url() != url {
			t.Errorf("%q is %v (%v), want one for other machines, at %s", text, a, err, url)
		}
	}
	for _, text := range []string{"", "on", "127.0.0.1", "127.0.0.1:", "::1", "example.org:80", "127.0.0.1:65536", "-1", "127.0.0.1:http", "a:b:c"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q is %v", text, a)
		} else if !strings.Contains(err.Error(), "or auto") {
			t.Errorf("%q: no word on what is right: %v", text, err)
		}
	}
}

// A name that somebody else made to lead here is not served (DNS rebinding).
func TestHostsThatAreAdmitted(t *testing.T) {
	local, err := ParseAddress("8080")
	check(t, err)
	open, err := ParseAddress("0.0.0.0:8080")
	check(t, err)
	for host, want := range map[string][2]bool{
		"127.0.0.1:8080": {true, true}, "localhost:8080": {true, true}, "LOCALHOST": {true, true}, "[::1]:8080": {true, true}, "[::1]": {true, true},
		"127.0.0.1:9000": {true, true}, // a port that is forwarded
		"192.0.2.7:8080": {false, true}, "[2001:db8::7]": {false, true},
		"evil.example:8080": {}, "localhost.evil.example:8080": {}, "127.0.0.1.nip.example": {}, "": {}, "localhost:8080:80": {},
	} {
		if got := [2]bool{local.admits(host), open.admits(host)}; got != want {
			t.Errorf("Host %q: %v, want %v", host, got, want)
		}
	}
}
