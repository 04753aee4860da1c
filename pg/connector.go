package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// connector opens connections and checks that their server can be trusted with locks. Any goroutine may use it. Its fields
// do not change after Open has returned, but for what is published atomically.
type connector struct {
	config   Config
	source   Source
	database string                            // that the locks are in, as its sessions say it; written by probe
	moved    func()                            // tells the pool that a server has replaced another; set by Open, after probe
	seen     atomic.Pointer[history]           // what was met; written by whoever opens a connection
	refused  atomic.Pointer[map[string]string] // settings that the server did not take, and why; written by whoever opens the first connection
}

// connection is one that has been set up and checked. It is its receiver's alone.
type connection struct {
	conn     net.Conn
	front    *pgproto3.Frontend
	input    *input // what front reads; nil where front is the user's
	pid      uint32
	identity string // the answer to the health question, which does not change; see sameBackend
	timeline timeline
	asked    time.Time // when the identity was asked for
	taken    []setting // those of ours that the server has taken
}

// newConnector makes a connector. The config must have been completed.
func newConnector(source Source, config Config) *connector {
	return &connector{config: config, source: source}
}

// open gives one more connection. It returns when ctx ends, and when nothing is answered for as long as ConnectTimeout.
// A connection that comes later is closed when it comes.
func (c *connector) open(ctx context.Context) (*connection, error) {
	return c.attempt(ctx, c.openOne)
}

// attempt runs f as an attempt, and says why it failed.
func (c *connector) attempt(ctx context.Context, f func(context.Context, *attempt) (*connection, error)) (*connection, error) {
	a := newAttempt(c.config.ConnectTimeout)
	conn, err := a.run(ctx, func(inner context.Context) (*connection, error) {
		conn, err := f(inner, a)
		if err != nil { // made here, on the attempt's goroutine: methods of an error of the user's may panic
			err = connectError(ctx, err)
		}
		return conn, err
	}, discard)
	if err != nil {
		return nil, connectError(ctx, err)
	}
	return conn, nil
}

func (c *connector) openOne(ctx context.Context, a *attempt) (*connection, error) {
	var s *setUp
	w, err := c.obtain(ctx, a, func(ctx context.Context, w *wire) error {
		s = c.newSetUp(w)
		return s.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	return w.handOver(s)
}

// discard closes a connection that nobody waits for any more.
func discard(conn *connection) { closeSocket(conn.conn) }

// checkedSource can try its next host where a connection does not pass a check.
type checkedSource interface {
	connectChecked(ctx context.Context, a *attempt, check func(context.Context, *wire) error) (*wire, error)
}

// errBusy: whatever is asked next would be taken for an answer to what was asked before.
var errBusy = errors.New("a function of yours left the connection busy: it has results that were not read to their end")

// obtain gets a connection from the source. Where it does not pass the check it is closed.
func (c *connector) obtain(ctx context.Context, a *attempt, check func(context.Context, *wire) error) (w *wire, err error) {
	if s, ok := c.source.(checkedSource); ok {
		return s.connectChecked(ctx, a, check)
	}
	a.expect("getting a connection from your pool")
	conn, err := c.source.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if conn == nil || conn.IsClosed() {
		return nil, errors.New("the source gave no open connection")
	}
	if conn.IsBusy() {
		closeSocket(conn.Conn())
		return nil, errBusy
	}
	w = newWire(a, conn)
	w.used = true
	passed := false
	defer func() { // also where the connection's own methods panic
		if !passed {
			w.hangUp()
		}
	}()
	if err := check(ctx, w); err != nil {
		return nil, err
	}
	passed = true
	return w, nil
}

// handOver ends the set-up: from here on the connection has no deadline, and ends with no context.
func (w *wire) handOver(s *setUp) (*connection, error) {
	if w.broken {
		return nil, net.ErrClosed
	}
	err := w.checkDeadlines()
	if err == nil {
		err = w.release()
	}
	if err != nil {
		w.hangUp()
		return nil, err
	}
	var in *input
	if w.front.ReadBufferLen() == 0 { // nothing that has been read is lost: the frontend need not be the user's
		in = &input{conn: w.conn}
		w.front = pgproto3.NewFrontend(in, w.conn)
	}
	w.front.SetMaxBodyLen(maxMessage)
	return &connection{conn: w.conn, front: w.front, input: in, pid: s.identity.pid, identity: s.identity.text, timeline: s.timeline,
		asked: s.asked, taken: s.taken}, nil
}

// checkDeadlines makes sure that a read ends at its deadline, where the connection is of a kind of the user's. One whose SetDeadline does
// nothing would keep the session's goroutines for ever once the server falls silent. Nothing has been asked, so nothing comes meanwhile.
func (w *wire) checkDeadlines() error {
	switch below(w.conn).(type) {
	case *net.TCPConn, *net.UnixConn:
		return nil
	}
	w.attempt.expect("a connection whose deadlines work")
	if err := w.conn.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		return noDeadlines(err)
	}
	results := make(chan error, 1) // sent by the reading goroutine; received below; never closed; capacity 1: its one result
	start(func() (struct{}, error) { return struct{}{}, readNothing(w.conn) }, func(_ struct{}, err error) { results <- err })
	timer := time.NewTimer(w.attempt.limit / 2) // the network has no part in it; what the attempt's own limit says would be less
	defer timer.Stop()
	select {
	case err := <-results:
		return err
	case <-timer.C:
		closeSocket(w.conn)
		return noDeadlines(errNoEnd)
	}
}

var errNoEnd = errors.New("a read did not end at its deadline")

// readNothing expects that a read ends by its deadline.
func readNothing(conn net.Conn) error {
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	switch {
	case err == nil:
		return noDeadlines(errNoEnd)
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil
	}
	return err
}

// below is the connection under the attempt's own layer, and under TLS.
func below(conn net.Conn) net.Conn {
	if layered, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = layered.NetConn()
	}
	if s, ok := conn.(*socket); ok {
		conn = s.Conn
	}
	return conn
}

// release takes the deadlines off, and the attempt's socket where nothing stands above it.
func (w *wire) release() error {
	if w.socket != nil && !w.socket.disarm() {
		return context.Canceled
	}
	if w.socket != nil && w.conn == net.Conn(w.socket) && w.front.ReadBufferLen() == 0 {
		w.conn = w.socket.Conn
	}
	if err := w.conn.SetDeadline(time.Time{}); err != nil {
		return noDeadlines(err)
	}
	return nil
}

// maxMessage bounds what room is made for one message: its length is what the other side says, and ours are short. A
// longer one ends the session.
const maxMessage = 1 << 20

// closeSocket closes a connection below its TLS layer: that one sends a last message, and can wait for it. Any goroutine
// may call it. The methods of a connection that a user's DialFunc made may panic, or end the goroutine.
func closeSocket(conn net.Conn) { apart(func() { _ = below(conn).Close() }) }

// apart runs what calls methods of a connection on a goroutine of its own, and waits.
func apart(f func()) {
	done := make(chan struct{}) // closed by f's goroutine at its end; received here; nothing is sent
	start(func() (struct{}, error) { f(); return struct{}{}, nil }, func(struct{}, error) { close(done) })
	<-done
}

func unsafeBecause(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsafe, fmt.Sprintf(format, args...))
}
