package pg

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// signal sends a signal to one backend of a test's server.
func signal(t testing.TB, pid uint32, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(int(pid), sig); err != nil {
		t.Fatal(err)
	}
}

// proxy stands between a test's sessions and a server. It can stop forwarding while both sides' connections stay up and
// are acknowledged, as a frozen middlebox does, and it can cut a reply short.
type proxy struct {
	listener        net.Listener
	network, target string

	mu     sync.Mutex
	frozen chan struct{} // closed when it thaws; nil while it forwards
	closed chan struct{}
	conns  map[net.Conn]bool
	left   int      // bytes that the server may still send on cut's connection
	armed  bool     // the next connection on which the server sends is the one to cut
	cut    net.Conn // that connection's server side
	done   sync.WaitGroup
	dials  atomic.Int32
}

// newProxy starts one, which goes with the test.
func newProxy(t testing.TB, network, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, network: network, target: target, closed: make(chan struct{}), conns: make(map[net.Conn]bool)}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		close(p.closed)
		p.hangUp()
		p.done.Wait()
	})
	return p
}

// through is the DSN of a server by way of the proxy.
func (p *proxy) through(t testing.TB, tcpDSN string) string {
	t.Helper()
	u, err := url.Parse(tcpDSN)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	return u.String()
}

// newSocketProxy leads to the server's unix socket, where no password is asked for: that takes long under the race
// detector.
func newSocketProxy(t testing.TB, d database) (p *proxy, dsn string) {
	t.Helper()
	p = newProxy(t, "unix", filepath.Join(d.SocketDir(), ".s.PGSQL."+strconv.Itoa(d.Port())))
	return p, p.through(t, fmt.Sprintf("postgres://%s@host/%s?sslmode=disable", pgserver.Superuser, d.name))
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.dials.Add(1)
		server, err := net.Dial(p.network, p.target)
		if err != nil {
			client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		p.done.Go(func() { p.forward(client, server, false) })
		p.done.Go(func() { p.forward(server, client, true) })
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
		select {
		case <-p.closed:
			c.Close()
		default:
		}
	}
	return true
}

func (p *proxy) forward(from, to net.Conn, replies bool) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		n, last := p.allowed(from, n, replies)
		if _, err := to.Write(buffer[:n]); err != nil || last {
			return
		}
	}
}

// allowed waits while the proxy is frozen, and says how much of n bytes goes on and whether that is the last.
func (p *proxy) allowed(from net.Conn, n int, replies bool) (int, bool) {
	for {
		p.mu.Lock()
		frozen := p.frozen
		if frozen == nil {
			defer p.mu.Unlock()
			break
		}
		p.mu.Unlock()
		select {
		case <-frozen:
		case <-p.closed:
			return 0, true
		}
	}
	if !replies {
		return n, false
	}
	if p.armed {
		p.armed, p.cut = false, from
	}
	if p.cut != from {
		return n, false
	}
	if n < p.left {
		p.left -= n
		return n, false
	}
	n, p.left, p.cut = p.left, 0, nil
	return n, true
}

// freeze stops forwarding, and thaw goes on.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.frozen)
	p.frozen = nil
}

// cutReply lets through that many bytes of what the server says next, and then closes that connection.
func (p *proxy) cutReply(after int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.left = true, after
}

// hangUp closes all connections.
func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}
