package player

import (
	"errors"
	"strings"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/manager"
)

// causeOf reads why a lock was lost from its error: a sentinel where there is one, else the library's own word.
func causeOf(err error) event.Cause {
	switch {
	case err == nil:
		return event.NoCause
	case errors.Is(err, manager.ErrKeeperFailed):
		return event.ByKeeper
	case errors.Is(err, manager.ErrClosed):
		return event.ByClose
	}
	text := err.Error()
	for _, known := range []struct {
		word  string
		cause event.Cause
	}{
		{"ended by the server", event.ByServer},
		{"connection broken", event.ByConnection},
		{"no answer in time", event.BySilence},
		{"nothing was heard from the server in time", event.BySilence},
		{"server is in recovery", event.ByRecovery},
		{"backend changed", event.ByBackend},
		{"state of a lock unknown", event.ByDoubt},
	} {
		if strings.Contains(text, known.word) {
			return known.cause
		}
	}
	return event.ByOther
}

// released reads a release's outcome.
func released(err error) (event.Outcome, event.Cause) {
	switch {
	case err == nil:
		return event.OK, event.NoCause
	case errors.Is(err, manager.ErrLost), errors.Is(err, manager.ErrKeeperFailed):
		return event.Gone, causeOf(err)
	default:
		return event.Unknown, event.NoCause
	}
}
