package report

import (
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 ms", 84 * time.Microsecond: "0.08 ms", 12345 * time.Microsecond: "12.3 ms", 999 * time.Millisecond: "999 ms",
		1200 * time.Millisecond: "1.20 s", 5 * time.Minute: "300 s",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
	for _, tt := range []struct{ got, want string }{{Of(1, "key"), "1 key"}, {Of(2, "process"), "2 processes"}, {Of(0, "key"), "0 keys"}} {
		if tt.got != tt.want {
			t.Errorf("Of gave %q, want %q", tt.got, tt.want)
		}
	}
}
