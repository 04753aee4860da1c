package pg

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// flights counts what clients send and wait for an answer to, over all connections: parallel ones count each.
type flights struct {
	mu    sync.Mutex
	count int
}

type countedConn struct {
	net.Conn
	flights *flights
	sent    bool
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.flights.mu.Lock()
	c.sent = true
	c.flights.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	if n > 0 && c.sent {
		c.sent = false
		c.flights.count++
	}
	return n, err
}

func countFlights(t *testing.T, dsn string) (Source, *flights) {
	t.Helper()
	f := &flights{}
	config := parsed(t, dsn)
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &countedConn{Conn: conn, flights: f}, nil
	}
	return fromConfig(t, config), f
}

func TestW15_RoundTripsToOpen(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	for name, c := range map[string]struct {
		dsn         string
		transaction bool
		most        int
	}{
		"direct, scram": {d.tcpDSN(), false, 12},
		// 9 of them are waited for while others are. One more is needed for each time that the lock of a client which has gone is not free yet.
		"behind a pooler":                         {startBouncer(t, d, map[string]string{"pool_mode": "session"}), false, 45},
		"behind a pooler that pools transactions": {startBouncer(t, d, map[string]string{"pool_mode": "transaction"}), true, 30},
	} {
		t.Run(name, func(t *testing.T) {
			source, flights := countFlights(t, c.dsn)
			var opened *connector
			eventually(t, fmt.Sprintf("it opens in %d flights", c.most), func() bool { // a pooler that resets late costs more
				before := flights.count
				opened, _ = probed(t, source, Config{InTransaction: c.transaction})
				t.Logf("%d flights to open", flights.count-before)
				return flights.count-before <= c.most
			})
			before := flights.count
			another(t, opened)
			if n := flights.count - before; n > 4 {
				t.Errorf("%d flights for a further session", n)
			}
		})
	}
}

// farSource is a server that is half a round trip away.
func farSource(t *testing.T, f *fakeServer, half time.Duration) Source {
	t.Helper()
	source := f.source(t)
	config, _ := source.(configSource).config() //nolint:forcetypeassert // it is what FromConfig makes
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		time.Sleep(2 * half) //nolint:forbidigo // in a bubble
		near, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		client, far := pgfake.Pipe()
		f.done.Go(func() { carry(&f.done, near, far, half) })
		f.done.Go(func() { carry(&f.done, far, near, half) })
		return client, nil
	}
	return source
}

// carry takes bytes from one connection to another, which get there after the delay.
func carry(done *sync.WaitGroup, from, to net.Conn, delay time.Duration) {
	type parcel struct {
		at    time.Time
		bytes []byte
	}
	way := make(chan parcel, 1000)
	done.Go(func() {
		defer to.Close()
		for p := range way {
			time.Sleep(time.Until(p.at)) //nolint:forbidigo // in a bubble
			_, _ = to.Write(p.bytes)
		}
	})
	defer close(way)
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		way <- parcel{time.Now().Add(delay), append([]byte(nil), buffer[:n]...)}
	}
}

// The time is the bubble's, so that it counts the round trips that are waited for one after the other.
func TestW15_AServerFarAway(t *testing.T) {
	for name, c := range map[string]struct {
		half  time.Duration
		proxy bool
		most  int
	}{
		"direct":             {150 * time.Millisecond, false, 10}, // scram adds two
		"behind a proxy":     {150 * time.Millisecond, true, 24},  // scram adds six
		"direct, a long way": {2 * time.Second, false, 10},
		"proxy, a long way":  {2 * time.Second, true, 24},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.noKey = c.proxy
				config, err := (&Config{}).WithDefaults()
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				conn, err := newConnector(farSource(t, f, c.half), config).probe(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if trips := int(time.Since(begin) / (2 * c.half)); trips > c.most {
					t.Errorf("%d round trips", trips)
				} else {
					t.Logf("%d round trips", trips)
				}
				closeSocket(conn.conn)
			})
		})
	}
}
