package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// dialer makes the sockets of one attempt. It bounds each wait for an answer, also where code that runs on a socket sets no
// deadline, and it closes every socket that did not become the attempt's connection. One goroutine uses it.
type dialer struct {
	attempt *attempt
	dial    pgconn.DialFunc
	lookup  pgconn.LookupFunc
	budget  time.Duration          // the limit, or what is left of the context's time
	targets int                    // how many addresses there are to try
	names   map[string]bool        // host names that have been looked up
	final   error                  // why no further address is tried
	silent  atomic.Pointer[string] // an address that has not answered: pgx tries each twice where TLS is optional; written by whoever reads
	sockets []*socket
	onEnd   func(f func()) (stop func() bool) // of the attempt's context: pgx gives each address one of its own
}

func newDialer(ctx context.Context, a *attempt, config *pgconn.Config) *dialer {
	d := &dialer{attempt: a, dial: config.DialFunc, lookup: config.LookupFunc, budget: a.limit, names: make(map[string]bool),
		onEnd: func(f func()) func() bool { return context.AfterFunc(ctx, f) }}
	if deadline, bounded := ctx.Deadline(); bounded {
		d.budget = min(d.budget, max(time.Until(deadline), 0))
	}
	hosts := map[string]bool{fmt.Sprint(config.Host, " ", config.Port): true}
	for _, h := range config.Fallbacks { // with and without TLS are two
		hosts[fmt.Sprint(h.Host, " ", h.Port)] = true
	}
	d.targets = len(hosts)
	return d
}

func (d *dialer) Lookup(ctx context.Context, host string) ([]string, error) {
	d.attempt.expect("looking up the name of a host")
	addresses, err := d.lookup(ctx, host)
	d.attempt.heard()
	if err == nil && len(addresses) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	if err == nil && !d.names[host] {
		d.names[host] = true
		d.targets += max(len(addresses), 1) - 1
	}
	return addresses, err
}

// connecting marks the contexts in which a connection is made. Whatever else pgx dials is a request to cancel what a
// connection did that has failed: of no use here, where the connection is closed, and at a server that hangs it takes 15 s.
type connecting struct{}

var errNoCancel = errors.New("nothing is cancelled, the connection is closed")

// share is what one address may take to answer: one that accepts connections and says nothing must not use up the time in
// which another could be reached.
func (d *dialer) share() time.Duration {
	return min(d.budget, max(d.budget/time.Duration(max(d.targets, 1)), minShare))
}

const minShare = time.Second

func (d *dialer) isSilent(address string) bool {
	silent := d.silent.Load()
	return silent != nil && *silent == address
}

func (d *dialer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch {
	case ctx.Value(connecting{}) == nil:
		return nil, errNoCancel
	case d.final != nil:
		return nil, d.final
	case d.isSilent(address):
		return nil, d.attempt.timedOut(d.share())
	}
	d.attempt.expect("dialling " + address)
	limited, cancel := context.WithTimeout(ctx, d.share())
	defer cancel()
	conn, err := d.dial(limited, network, address)
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			d.silent.Store(&address)
			return nil, d.attempt.timedOut(d.share())
		}
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		closeSocket(conn)
		return nil, err
	}
	d.attempt.expect("logging in at " + address)
	s := &socket{Conn: conn, dialer: d, address: address}
	s.limit.Store(int64(d.share()))
	s.disarm = d.onEnd(func() { closeSocket(conn) })
	d.sockets = append(d.sockets, s)
	return s, nil
}

// closeAll closes the sockets, but for the one that is kept.
func (d *dialer) closeAll(kept *socket) {
	for _, s := range d.sockets {
		if s != kept {
			s.disarm()
			closeSocket(s.Conn)
		}
	}
}

// last is the socket that was dialled last.
func (d *dialer) last() *socket {
	if len(d.sockets) == 0 {
		return nil
	}
	return d.sockets[len(d.sockets)-1]
}

// socket is a connection while pgx logs in on it. Each read waits no longer than the limit.
type socket struct {
	net.Conn
	dialer  *dialer
	address string
	disarm  func() bool
	first   atomic.Int32 // a firstMessage; written by whoever writes first, and by whoever reads first
	limit   atomic.Int64 // in nanoseconds; 0: the deadlines are those that are set; written by the attempt: pgx may read on a goroutine of its own
	read    deadline     // what pgx has set
}

// deadline is a point in time.
type deadline struct {
	at atomic.Pointer[time.Time] // written by whoever uses the connection, and by pgx where its context ends
}

func (s *socket) SetDeadline(t time.Time) error {
	s.read.at.Store(&t)
	return s.Conn.SetDeadline(t)
}

func (s *socket) SetReadDeadline(t time.Time) error {
	s.read.at.Store(&t)
	return s.Conn.SetReadDeadline(t)
}

func (s *socket) Write(b []byte) (int, error) {
	if s.limit.Load() != 0 && firstMessage(s.first.Load()) == nothingSent {
		s.first.Store(int32(firstMessageOf(b)))
	}
	return s.Conn.Write(b)
}

func (s *socket) Read(b []byte) (int, error) {
	limit := time.Duration(s.limit.Load())
	if limit == 0 {
		return s.Conn.Read(b)
	}
	own, begin := true, time.Now()
	if err := s.Conn.SetReadDeadline(begin.Add(limit)); err != nil {
		return 0, noDeadlines(err)
	}
	// Whoever sets a deadline stores it first: one that was set before ours is found here, a later one stands.
	if t := s.read.at.Load(); t != nil && !t.IsZero() && time.Until(*t) < limit {
		own = false
		if err := s.Conn.SetReadDeadline(*t); err != nil {
			return 0, noDeadlines(err)
		}
	}
	n, err := s.Conn.Read(b)
	var timeout net.Error
	switch {
	case n > 0:
		s.dialer.attempt.heard()
		if !firstMessage(s.first.Load()).allows(b[0]) {
			return 0, errForeign
		}
		s.first.Store(int32(seen))
	case own && errors.As(err, &timeout) && timeout.Timeout() && !s.cut() && time.Since(begin) >= limit:
		s.dialer.silent.Store(&s.address)
		return n, s.dialer.attempt.timedOut(limit)
	}
	return n, err
}

// cut reports whether somebody set a deadline that is over.
func (s *socket) cut() bool {
	t := s.read.at.Load()
	return t != nil && !t.IsZero() && !time.Now().Before(*t)
}

// noDeadlines explains why a connection cannot be used: tunnels give such ones.
func noDeadlines(err error) error {
	return errors.Join(errors.New("the connection that DialFunc gave has no deadlines, and without them a silent server "+
		"cannot be told from a slow one"), err)
}
