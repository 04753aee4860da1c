package forward

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// sink is where bytes go.
type sink interface {
	io.Writer
	// CloseWrite passes on that no more will come.
	CloseWrite() error
}

// stream is one direction of a connection.
type stream struct {
	from    net.Conn
	to      sink
	replies bool
	hangUp  func() // closes the connection both ways
	// queued counts the chunks that are in the line. The reader passes bytes on by itself only while there are none.
	queued   atomic.Int64
	last     time.Time     // when the last of them is due; the line's
	finished chan struct{} // closed when the end has been passed on
}

func newStreams(client, server net.Conn) (requests, replies *stream) {
	hangUp := func() {
		_ = client.Close()
		_ = server.Close()
	}
	direction := func(from, to net.Conn, replies bool) *stream {
		end, ok := to.(sink)
		if !ok {
			panic("BUG: a connection that cannot be closed in one direction")
		}
		return &stream{from: from, to: end, replies: replies, hangUp: hangUp, finished: make(chan struct{})}
	}
	return direction(client, server, false), direction(server, client, true)
}

// write writes bytes; none are the end of the stream.
func (s *stream) write(b []byte) {
	if len(b) > 0 {
		if _, err := s.to.Write(b); err != nil {
			s.hangUp() // so that the reader ends
		}
		return
	}
	_ = s.to.CloseWrite()
	close(s.finished)
}

// carry reads until the stream ends, passes the end on as everything else, and waits until it has been: what is under way
// needs the connection. After any other end than a peer's own, the connection is closed both ways.
func (f *Forwarder) carry(s *stream) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.from.Read(buffer)
		n, cut := f.allowed(s, n)
		if n > 0 {
			f.pass(s, buffer[:n])
		}
		if err == nil && !cut {
			continue
		}
		f.pass(s, nil)
		select {
		case <-s.finished:
		case <-f.line.ended:
		}
		if cut || !errors.Is(err, io.EOF) {
			s.hangUp()
		}
		return
	}
}

// pass writes bytes at once, or gives them to the line where there is a delay or other bytes have to come first.
func (f *Forwarder) pass(s *stream, b []byte) {
	delay := f.pace.Load().delay()
	if delay <= 0 && s.queued.Load() == 0 {
		s.write(b)
		return
	}
	s.queued.Add(1)
	f.line.put(s, slices.Clone(b), delay)
}

// allowed waits while the forwarder is frozen, and says how many of n bytes go on and whether these are the last.
func (f *Forwarder) allowed(s *stream, n int) (int, bool) {
	f.mu.Lock()
	for f.frozen != nil {
		frozen := f.frozen
		f.mu.Unlock()
		select {
		case <-frozen:
		case <-f.closed.Done():
			return 0, true
		}
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	if !s.replies || n == 0 {
		return n, false
	}
	if f.armed {
		f.armed, f.cut = false, s
	}
	if f.cut != s {
		return n, false
	}
	if n < f.left {
		f.left -= n
		return n, false
	}
	f.cut = nil
	return f.left, true
}
