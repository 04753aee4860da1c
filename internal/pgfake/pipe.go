package pgfake

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Stream is bytes on their way to one reader, who waits on a channel alone, so that a synctest bubble sees it wait. With a
// Write and a Close it is a net.Conn.
type Stream struct {
	mu       sync.Mutex
	bytes    []byte
	err      error // what comes after the bytes
	deadline time.Time
	changed  chan struct{} // capacity 1: something above did; received by the reader
}

// NewStream returns one that is empty.
func NewStream() *Stream { return &Stream{changed: make(chan struct{}, 1)} }

func (s *Stream) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Append lets bytes reach the reader. It never blocks. After the end it fails.
func (s *Stream) Append(b []byte) (err error) {
	s.change(func() {
		if s.err != nil {
			err = net.ErrClosed
			return
		}
		s.bytes = append(s.bytes, b...)
	})
	return err
}

// End gives the reader an error when it has read everything. The first counts.
func (s *Stream) End(err error) {
	s.change(func() {
		if s.err == nil {
			s.err = err
		}
	})
}

// Read implements net.Conn, as do the methods below.
func (s *Stream) Read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		n, err, deadline := copy(p, s.bytes), s.err, s.deadline
		s.bytes = s.bytes[n:]
		s.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		case deadline.IsZero():
			<-s.changed
		case !time.Now().Before(deadline):
			return 0, os.ErrDeadlineExceeded
		default:
			timer := time.NewTimer(time.Until(deadline))
			select {
			case <-s.changed:
			case <-timer.C:
			}
			timer.Stop()
		}
	}
}

// SetDeadline is SetReadDeadline: writing takes no time.
func (s *Stream) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.change(func() { s.deadline = t })
	return nil
}

// SetWriteDeadline implements net.Conn.
func (*Stream) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (*Stream) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn.
func (*Stream) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// Pipe returns the ends of a connection in memory. Unlike net.Pipe's, its writes do not wait for a reader.
func Pipe() (client, server net.Conn) {
	a, b := NewStream(), NewStream()
	return &end{a, b}, &end{b, a}
}

// end reads from its own stream and writes to the other end's.
type end struct {
	*Stream
	out *Stream
}

func (e *end) Write(p []byte) (int, error) {
	if err := e.out.Append(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (e *end) Close() error {
	e.End(io.EOF)
	e.out.End(io.EOF)
	return nil
}
