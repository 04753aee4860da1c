package pg

import (
	"encoding/binary"
	"errors"
)

// A port may be another server's: one of HTTP, SSH, MySQL. What such a one says first is no answer of PostgreSQL's. Taken for one it
// announces a message of a gigabyte, which then does not come.

// firstMessage is what was sent first on a connection, and has yet to be answered.
type firstMessage int32

const (
	nothingSent firstMessage = iota
	tlsRequest
	startUp
	seen // it was answered, or is none of these: TLS from the first byte on
)

// errForeign: the first answer was none of PostgreSQL's.
var errForeign = errors.New("what answers there does not speak PostgreSQL")

// firstMessageOf tells them by their second word, a request code or a version. (PostgreSQL's documentation, "Message Formats".)
func firstMessageOf(sent []byte) firstMessage {
	const requestTLS, major3 = 80877103, 3
	if len(sent) < 8 {
		return seen
	}
	switch code := binary.BigEndian.Uint32(sent[4:]); {
	case code == requestTLS:
		return tlsRequest
	case code>>16 == major3:
		return startUp
	}
	return seen
}

// allows reports whether PostgreSQL's answer to it can begin so.
func (m firstMessage) allows(answer byte) bool {
	switch m {
	case tlsRequest:
		return answer == 'S' || answer == 'N' || answer == 'E'
	case startUp: // a request to authenticate, an error, another version, a notice
		return answer == 'R' || answer == 'E' || answer == 'v' || answer == 'N'
	case nothingSent, seen:
	}
	return true
}
