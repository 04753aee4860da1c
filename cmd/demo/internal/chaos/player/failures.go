package player

import (
	"errors"
	"regexp"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/manager"
)

// maxKinds bounds how many kinds of failures are told apart.
const maxKinds = 60

var digits = regexp.MustCompile(`[0-9]+`)

// count counts a failure that nobody planned, by what it says, without the numbers.
func (p *play) count(what string, err error) {
	kind := what + ": " + kindOf(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.failures[kind]; known || len(p.failures) < maxKinds {
		p.failures[kind]++
	}
}

func kindOf(err error) string {
	if acquire, ok := errors.AsType[*manager.AcquireError](err); ok {
		text := acquire.Reason.Error()
		if n := len(acquire.Failures); n > 0 {
			text += "; at last: " + acquire.Failures[n-1].Error()
		}
		return shorten(text)
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return server.Code + " " + server.Message
	}
	return shorten(err.Error())
}

func shorten(text string) string {
	const most = 200
	text = digits.ReplaceAllString(text, "N")
	return text[:min(len(text), most)]
}
