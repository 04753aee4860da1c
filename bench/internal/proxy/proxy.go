package proxy

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"
)

// Proxy listens on a loopback port and leads to one server.
type Proxy struct {
	listener net.Listener
	server   string
	line     *line
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// Start makes a proxy that adds the round trip rtt, half of it each way. It runs until Close.
func Start(ctx context.Context, server string, rtt time.Duration) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the proxy: %w", err)
	}
	// The proxy ends by Close, not with the context that it was started with.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &Proxy{listener: listener, server: server, line: newLine(rtt/2, clock{time.Now, nanosleep}), cancel: cancel,
		conns: map[net.Conn]struct{}{}}
	p.running.Go(func() {
		// The thread is this goroutine's own, since its timers are set to be exact.
		runtime.LockOSThread()
		exactTimers()
		p.line.run()
	})
	p.running.Go(func() { p.accept(ctx) })
	return p, nil
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends all connections and waits until nothing is left.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.line.close()
	p.running.Wait()
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(ctx, client) })
	}
}

func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.keep(client, server) {
		return
	}
	defer p.forget(client, server)
	var both sync.WaitGroup
	both.Go(func() { p.carry(client, server) })
	p.carry(server, client)
	both.Wait()
}

// carry reads until the end of the stream, which is passed on as everything else, and waits until it has been: what is in
// flight needs the connection.
func (p *Proxy) carry(from, to net.Conn) {
	end := newWire(to)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.line.put(append([]byte(nil), buffer[:n]...), end)
		}
		if err != nil {
			p.line.put(nil, end)
			select {
			case <-end.finished:
			case <-p.line.ended:
			}
			return
		}
	}
}

// keep notes connections for Close, and says whether it has not begun.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// wire is a TCP connection as a sink.
type wire struct {
	*net.TCPConn
	finished chan struct{} // closed by the line when it has passed on the end
}

func newWire(c net.Conn) wire {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		panic(fmt.Sprintf("BUG: a %T is no TCP connection", c))
	}
	return wire{TCPConn: tcp, finished: make(chan struct{})}
}

func (w wire) CloseWrite() error {
	defer close(w.finished)
	return w.TCPConn.CloseWrite()
}
