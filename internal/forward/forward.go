// Package forward is a TCP forwarder. It stands between clients and a server, as a load balancer or a NAT gateway does. It
// can delay what passes, stop passing anything on while the connections of both sides stay up, cut a reply short, and hang
// up.
//
// A delay is that of a longer wire, not of a slower one: each chunk of bytes is passed on a time after it was read,
// whatever else is under way, so that a client which pipelines loses nothing but the time of flight. One thread passes on
// what is delayed, and the kernel's nanosleep does the waiting: Go's timers wake an idle program up to a millisecond late,
// which is more than the delays that benchmarks want.
package forward

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Pace is how long everything takes that passes, in each direction.
type Pace struct {
	Delay  time.Duration `json:"delay"`
	Jitter time.Duration `json:"jitter"` // added at random, up to so much
}

func (p Pace) delay() time.Duration {
	if p.Jitter <= 0 {
		return p.Delay
	}
	return p.Delay + rand.N(p.Jitter)
}

// Forwarder leads from one address to one server. Its methods may be called by any goroutine.
type Forwarder struct {
	listener        net.Listener
	network, target string
	line            *line
	pace            atomic.Pointer[Pace]
	accepted        atomic.Int64
	closed          context.Context //nolint:containedctx // the forwarder's own lifetime
	cancel          context.CancelFunc
	running         sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	frozen chan struct{} // closed when it thaws; nil while it forwards
	armed  bool          // the next connection on which the server sends is the one to cut
	cut    *stream       // the replies of that connection
	left   int           // bytes that may still pass on it
}

// Start listens at a TCP address, such as "127.0.0.1:0", and leads to a target in a network that net.Dial knows. The
// forwarder runs until Close, not until the context ends.
func Start(ctx context.Context, address, network, target string) (*Forwarder, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("starting a forwarder: %w", err)
	}
	f := &Forwarder{listener: listener, network: network, target: target, line: newLine(clock{time.Now, nanosleep}),
		conns: map[net.Conn]struct{}{}}
	f.closed, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.SetPace(Pace{})
	f.running.Go(func() {
		// The thread is this goroutine's own, since its timers are set to be exact.
		runtime.LockOSThread()
		exactTimers()
		f.line.run()
	})
	f.running.Go(f.accept)
	return f, nil
}

// Addr is where clients connect to.
func (f *Forwarder) Addr() string { return f.listener.Addr().String() }

// Accepted is how many connections clients have made.
func (f *Forwarder) Accepted() int { return int(f.accepted.Load()) }

// SetPace delays what is read from now on. What is under way keeps its time, and bytes never overtake each other.
func (f *Forwarder) SetPace(p Pace) { f.pace.Store(&p) }

// Freeze stops reading, and Thaw goes on. Meanwhile all connections stay up, and the kernel acknowledges what it receives.
func (f *Forwarder) Freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen == nil {
		f.frozen = make(chan struct{})
	}
}

// Thaw ends a freeze.
func (f *Forwarder) Thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen != nil {
		close(f.frozen)
		f.frozen = nil
	}
}

// CutReply lets through that many bytes of what the server says next, and then hangs up that connection.
func (f *Forwarder) CutReply(after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.cut, f.left = true, nil, after
}

// HangUp closes all connections.
func (f *Forwarder) HangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
}

// Close ends everything and waits until nothing is left. What is under way is dropped.
func (f *Forwarder) Close() {
	f.cancel()
	_ = f.listener.Close()
	f.HangUp()
	f.line.close()
	f.running.Wait()
}

func (f *Forwarder) accept() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.accepted.Add(1)
		f.running.Go(func() { f.serve(client) })
	}
}

// dialBound is how long a server may take to accept.
const dialBound = 20 * time.Second

// serve connects a client through, until both directions have ended.
func (f *Forwarder) serve(client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{Timeout: dialBound}).DialContext(f.closed, f.network, f.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !f.keep(client, server) {
		return
	}
	defer f.forget(client, server)
	requests, replies := newStreams(client, server)
	var both sync.WaitGroup
	both.Go(func() { f.carry(requests) })
	f.carry(replies)
	both.Wait()
}

// keep notes connections for HangUp, and says whether the forwarder is still open.
func (f *Forwarder) keep(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed.Err() != nil {
		return false
	}
	for _, c := range conns {
		f.conns[c] = struct{}{}
	}
	return true
}

func (f *Forwarder) forget(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.conns, c)
	}
}
