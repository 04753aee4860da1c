package main

import "testing"

// What is printed of names neither commands a terminal, nor hides, nor turns the text around it.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"orders/42 Schlüssel 鍵": "orders/42 Schlüssel 鍵", "\x1b[31m\x07\x7f": "?[31m??", "\u009b31m": "?31m", "a\u202eb\u2066c": "a?b?c", "a\u200bb\u2028": "a?b?", "\xff": "?",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q is printed as %q, want %q", text, got, want)
		}
	}
}
