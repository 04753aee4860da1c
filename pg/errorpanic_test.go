package pg

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// nilError is an error of somebody who returned a pointer that is nil: its text cannot be had.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// W21. Methods of an error of the user's run on the attempt's goroutine: a panic there is that attempt's.
func TestW21_AnErrorThatPanics(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	for what, fail := range map[string]error{"nil inside": (*nilError)(nil), "pgx's own": &pgconn.NotPreferredError{}} {
		bad := false
		c, _ := probed(t, hooked["AfterConnect"](t, d.dsn(), func() error {
			if bad {
				return fail
			}
			return nil
		}), Config{})
		bad = true
		err := opensOrFails(within(t), c)
		if err == nil || !strings.Contains(err.Error(), "panicked") || !Transient(err) {
			t.Errorf("%s: %v", what, err)
		}
		bad = false
		if err := opensOrFails(within(t), c); err != nil {
			t.Errorf("%s, the next attempt: %v", what, err)
		}
	}
}
