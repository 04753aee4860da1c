// Package forward is a TCP forwarder in a process of its own, as a load balancer or a NAT gateway is one: when it is frozen
// its kernel still acknowledges, so that neither side sees a dead connection. It can also delay what passes.
package forward

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Job is the first line that a forwarder reads: where to listen, and where to connect to, one for one.
type Job struct {
	Listen []string `json:"listen"`
	To     []string `json:"to"`
}

// Bound is its answer: the addresses that it listens on.
type Bound struct {
	Addresses []string `json:"addresses"`
	Error     string   `json:"error,omitempty"`
}

// Pace is an order: from now on everything that passes is delayed, in each direction.
type Pace struct {
	Delay  time.Duration `json:"delay"`
	Jitter time.Duration `json:"jitter"`
}

// Run is the life of a forwarder process: it ends with its standard input, which is the parent's.
func Run(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	var job Job
	if err := decoder.Decode(&job); err != nil {
		return err
	}
	f := &forwarder{}
	var bound Bound
	for i, address := range job.Listen {
		l, err := net.Listen("tcp", address) //nolint:noctx // it listens as long as the process lives
		if err != nil {
			bound.Error = err.Error()
			break
		}
		bound.Addresses = append(bound.Addresses, l.Addr().String())
		go f.accept(l, job.To[i])
	}
	if err := json.NewEncoder(out).Encode(bound); err != nil {
		return err
	}
	for {
		var pace Pace
		switch err := decoder.Decode(&pace); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading an order: %w", err)
		}
		f.pace.Store(&pace)
	}
}

type forwarder struct{ pace atomic.Pointer[Pace] }

func (f *forwarder) accept(l net.Listener, to string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go f.join(client, to)
	}
}

const dialBound = 2 * time.Second

// join connects a client through, until either side ends.
func (f *forwarder) join(client net.Conn, to string) {
	server, err := net.DialTimeout("tcp", to, dialBound) //nolint:noctx // bounded
	if err != nil {
		client.Close()
		return
	}
	end := sync.OnceFunc(func() {
		client.Close()
		server.Close()
	})
	go f.pass(client, server, end)
	f.pass(server, client, end)
}

// parcel is what was read at once, and when it is due.
type parcel struct {
	data []byte
	due  time.Time
}

// pass reads from one side and writes to the other, each parcel after its delay and never out of order.
func (f *forwarder) pass(from, to net.Conn, end func()) {
	defer end()
	parcels := make(chan parcel, 256)
	var writer sync.WaitGroup
	writer.Go(func() {
		defer end()
		for p := range parcels {
			if wait := time.Until(p.due); wait > 0 {
				<-time.After(wait)
			}
			if _, err := to.Write(p.data); err != nil {
				break
			}
		}
		for range parcels { // nobody wants it any more; the reader must not hang on it
		}
	})
	for {
		buffer := make([]byte, 16<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			parcels <- parcel{data: buffer[:n], due: f.due()}
		}
		if err != nil {
			break
		}
	}
	close(parcels)
	writer.Wait()
}

func (f *forwarder) due() time.Time {
	pace := f.pace.Load()
	if pace == nil || pace.Delay+pace.Jitter == 0 {
		return time.Time{}
	}
	delay := pace.Delay
	if pace.Jitter > 0 {
		delay += time.Duration(rand.Int64N(int64(pace.Jitter)))
	}
	return time.Now().Add(delay)
}
