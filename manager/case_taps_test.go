package manager_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"net"
	"slices"
	"sync"
)

// taps listen to all connections that are dialled through them, without a part in what is said. TLS must be off.
type taps struct {
	mu  sync.Mutex
	all []*tap
}

// tap is one connection.
type tap struct {
	net.Conn
	mu       sync.Mutex
	in, out  stream
	pid      int
	status   map[string]string // what the server reported of the session's settings
	notes    int               // notifications that arrived
	sent     []byte            // kinds of the messages to the server, since the last look; 0 is the start-up message
	isClosed bool
}

func (ts *taps) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w := &tap{Conn: conn, status: make(map[string]string), out: stream{starting: true}}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all = append(ts.all, w)
	return w, nil
}

func (ts *taps) list() []*tap {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return slices.Clone(ts.all)
}

// sent is the kinds of the messages that were sent to the server since the last look, by all connections.
func (ts *taps) sent() string {
	var out []byte
	for _, w := range ts.list() {
		w.mu.Lock()
		out = append(out, w.sent...)
		w.sent = nil
		w.mu.Unlock()
	}
	return string(out)
}

func (w *tap) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.in.feed(p[:n], func(kind byte, body []byte) {
		switch kind {
		case 'K':
			w.pid = int(binary.BigEndian.Uint32(body))
		case 'S':
			if name, value, ok := bytes.Cut(body, []byte{0}); ok {
				w.status[string(name)] = string(bytes.TrimRight(value, "\x00"))
			}
		case 'A':
			w.notes++
		}
	})
	return n, err
}

func (w *tap) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.out.feed(p, func(kind byte, _ []byte) { w.sent = append(w.sent, kind) })
	w.mu.Unlock()
	return w.Conn.Write(p)
}

func (w *tap) Close() error {
	w.mu.Lock()
	w.isClosed = true
	w.mu.Unlock()
	return w.Conn.Close()
}

// look is the backend, what it has reported, how many notifications came, and whether the connection is open.
func (w *tap) look() (pid int, status map[string]string, notes int, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pid, maps.Clone(w.status), w.notes, !w.isClosed
}

// stream cuts bytes into messages of PostgreSQL's protocol.
type stream struct {
	rest     []byte
	starting bool // the next message has no kind
}

func (s *stream) feed(p []byte, message func(kind byte, body []byte)) {
	s.rest = append(s.rest, p...)
	for {
		head := 1
		if s.starting {
			head = 0
		}
		if len(s.rest) < head+4 {
			return
		}
		end := head + int(binary.BigEndian.Uint32(s.rest[head:]))
		if len(s.rest) < end {
			return
		}
		var kind byte
		if head == 1 {
			kind = s.rest[0]
		}
		message(kind, s.rest[head+4:end])
		s.rest, s.starting = s.rest[end:], false
	}
}
