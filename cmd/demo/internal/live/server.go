package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	// places bounds the browsers that watch at one time.
	places = 64
	// writeBound is how long a browser may take to receive what fits into no buffer any more.
	writeBound = 5 * time.Second
	// heartbeat is how often a line goes to a browser when nothing happens, so that a connection that is gone is found out.
	heartbeat = 10 * time.Second
	// closeBound is how long Close waits for browsers to receive the last events, at most.
	closeBound = 2 * time.Second
	headerSize = 16 << 10
)

// Server serves one run's page.
type Server struct {
	address  Address
	hub      *hub
	http     *http.Server
	serveErr chan error // from the goroutine that serves, once; capacity 1, so that it ends although nobody asks
}

// Listen begins to serve a page at the address. run is an id that no other run has. keep is how many events of a name are kept for
// those who come late or are slow; of others the last one is. The server is closed by Close alone.
func Listen(ctx context.Context, address Address, run string, keep map[string]int) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address.String())
	if err != nil {
		return nil, fmt.Errorf("the page cannot be served at %v: %w; choose another port, or auto for a free one", address, err)
	}
	bound, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	address.Port = bound.Port()
	s := &Server{address: address, hub: startHub(run, keep, places), serveErr: make(chan error, 1)}
	s.http = &http.Server{
		// No ReadTimeout: it would end the events' requests, too, whose connections are read from while they last.
		Handler: s.handler(), ReadHeaderTimeout: writeBound, IdleTimeout: time.Minute, MaxHeaderBytes: headerSize,
		ErrorLog: log.New(io.Discard, "", 0), // what a browser does wrong is no business of the run's output
	}
	go func() { s.serveErr <- s.http.Serve(listener) }() // Joined by Close, which receives.
	return s, nil
}

// URL is the page's.
func (s *Server) URL() string { return s.address.url() }

// Publish sends an event to all browsers, its value as JSON. It waits for the hub, which waits for nobody, and may be called by any
// goroutine, after Close too, when nobody hears it.
func (s *Server) Publish(name string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		name, data = "broken", []byte(`null`) // a value of ours that JSON cannot have, as NaN; the page tells it
	}
	s.hub.publish(name, data)
}

// Close sends the browsers what was published, hangs up, and returns when no goroutine of the server is left. A browser that does
// not receive it within two seconds goes without. It is called once.
func (s *Server) Close() error {
	s.hub.finishing()
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // which fails the writes that hang
	}
	<-s.hub.done
	if served := <-s.serveErr; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
