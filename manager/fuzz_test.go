package manager_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Any bytes are a key, and a server may call a holder by any name: the error that tells of them is one line of text that
// can be printed, of a bounded length, and its parts are found in it.
func FuzzAcquireError(f *testing.F) {
	for _, key := range []string{"orders/42", "", "\x00", "\xff\xfe", "a\nb", "\x1b[31m", "\u202e", strings.Repeat("ü", 100), `"%s%!d(x)`} {
		f.Add(key, "billing", "10.0.0.1", uint32(7))
		f.Add("k", key, key, uint32(0))
	}
	f.Fuzz(func(t *testing.T, key, application, address string, pid uint32) {
		err := &manager.AcquireError{Key: key, ID: -1, Reason: manager.ErrWaitTimeout, Attempts: 3, Waited: time.Second,
			Holder:   &manager.Holder{PID: pid, ApplicationName: application, ClientAddr: address, Seen: time.Unix(0, 0)},
			Failures: []error{io.ErrUnexpectedEOF, io.ErrShortWrite}}
		text := err.Error()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("not to be printed: %q", text)
		}
		if most := 1000 + 4*(len(application)+len(address)); len(text) > most {
			t.Errorf("%d bytes of text for a key of %d", len(text), len(key))
		}
		for _, part := range []error{manager.ErrWaitTimeout, io.ErrUnexpectedEOF, io.ErrShortWrite} {
			if !errors.Is(err, part) || !strings.Contains(text, part.Error()) {
				t.Errorf("%v is not found in %q", part, text)
			}
		}
	})
}
