package pg

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// newPipe makes two ends of a connection in memory. Unlike net.Pipe it has a buffer, as a socket has: a write to a peer
// that has stopped reading returns. It has nothing that keeps synctest's clock from moving.
func newPipe() (client, server net.Conn) {
	a, b := newStream(), newStream()
	return &pipeEnd{in: a, out: b}, &pipeEnd{in: b, out: a}
}

// stream is one direction: bytes that are written and not yet read.
type stream struct {
	mu       sync.Mutex
	bytes    []byte
	closed   bool
	deadline time.Time
	changed  chan struct{} // capacity 1: something above did; received by the one reader
}

func newStream() *stream { return &stream{changed: make(chan struct{}, 1)} }

func (s *stream) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *stream) read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		n, closed, deadline := copy(p, s.bytes), s.closed, s.deadline
		s.bytes = s.bytes[n:]
		s.mu.Unlock()
		var expired <-chan time.Time
		stop := func() bool { return true }
		switch {
		case n > 0:
			return n, nil
		case closed:
			return 0, io.EOF
		case !deadline.IsZero() && !time.Now().Before(deadline):
			return 0, os.ErrDeadlineExceeded
		case !deadline.IsZero():
			timer := time.NewTimer(time.Until(deadline))
			expired, stop = timer.C, timer.Stop
		}
		select {
		case <-s.changed:
		case <-expired:
		}
		stop()
	}
}

type pipeEnd struct{ in, out *stream }

func (e *pipeEnd) Read(p []byte) (int, error) { return e.in.read(p) }

func (e *pipeEnd) Write(p []byte) (n int, err error) {
	e.out.change(func() {
		if e.out.closed {
			err = net.ErrClosed
			return
		}
		e.out.bytes = append(e.out.bytes, p...)
		n = len(p)
	})
	return n, err
}

func (e *pipeEnd) Close() error {
	for _, s := range [...]*stream{e.in, e.out} {
		s.change(func() { s.closed = true })
	}
	return nil
}

func (e *pipeEnd) SetDeadline(t time.Time) error { return e.SetReadDeadline(t) }

func (e *pipeEnd) SetReadDeadline(t time.Time) error {
	e.in.change(func() { e.in.deadline = t })
	return nil
}

func (e *pipeEnd) SetWriteDeadline(time.Time) error { return nil }

func (e *pipeEnd) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (e *pipeEnd) RemoteAddr() net.Addr { return &net.TCPAddr{} }
