package pg

import (
	"encoding/binary"
	"errors"
	"net"
)

// courierBuffer is how much a courier carries at once.
const courierBuffer = 32 << 10

// errHungUp: the holder's connection said goodbye.
var errHungUp = errors.New("the transaction's connection was closed")

// courier carries what the holder's connection sends to the socket. It ends when the pipe does, when the session is taken back, and when
// the connection says goodbye, which the session does not: the pipe is closed then. Joined by the session's owner, through ended.
func (l *Loan) courier(conn net.Conn, welcome []byte) {
	returned := false
	defer close(l.ended)
	defer l.inner.Close()
	defer func() { // a connection that a user's DialFunc made may panic, or end the goroutine
		if !returned {
			l.courierErr = connPanic(recover())
		}
	}()
	l.courierErr = l.carry(conn, welcome)
	returned = true
}

func (l *Loan) carry(conn net.Conn, welcome []byte) error {
	buffer := make([]byte, courierBuffer)
	if err := l.greet(buffer, welcome); err != nil {
		return errHungUp
	}
	for leave := false; ; {
		n, err := l.inner.Read(buffer)
		if err != nil {
			return errHungUp
		}
		units, goodbye := l.frames.read(buffer[:n])
		if goodbye {
			return errHungUp
		}
		if !leave {
			select {
			case l.wants <- struct{}{}:
			case <-l.revoked:
				return errHungUp
			}
		}
		l.asked.Add(units) // before it can be answered
		l.open.Store(l.frames.open)
		if _, err := conn.Write(buffer[:n]); err != nil {
			return err
		}
		if leave = l.frames.inside(); !leave { // else the rest of a message has to come first
			l.wrote <- struct{}{}
		}
	}
}

// greet answers the start-up message of the holder's connection as a server does.
func (l *Loan) greet(buffer, welcome []byte) error {
	if _, err := l.inner.Read(buffer); err != nil {
		return err
	}
	_, err := l.inner.Write(welcome)
	return err
}

// frames follows the messages that a client sends.
type frames struct {
	header []byte // of a message, as far as it has come
	left   int    // of a message's body, what has yet to come
	open   bool   // something was sent that is answered with the next Sync
}

// read counts what begins in b and is answered with a ReadyForQuery. It reports a goodbye.
func (f *frames) read(b []byte) (units int64, goodbye bool) {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, len(b))
			f.left -= n
			b = b[n:]
			continue
		}
		n := min(5-len(f.header), len(b))
		f.header = append(f.header, b[:n]...)
		b = b[n:]
		if len(f.header) < 5 {
			continue
		}
		kind := f.header[0]
		f.left = max(0, int(binary.BigEndian.Uint32(f.header[1:]))-4)
		f.header = f.header[:0]
		if kind == 'X' {
			return units, true
		}
		units += f.begins(kind)
	}
	return units, false
}

// begins is 1 where a message is the first of what is answered together.
func (f *frames) begins(kind byte) int64 {
	first := int64(1)
	if f.open {
		first = 0
	}
	switch kind {
	case 'd', 'c', 'f': // of a COPY, which a Query has begun
		return 0
	case 'S', 'Q', 'F':
		f.open = false
	default:
		f.open = true
	}
	return first
}

// inside reports whether a message has begun and not ended.
func (f *frames) inside() bool { return f.left > 0 || len(f.header) > 0 }
