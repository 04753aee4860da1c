package proxy

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// book notes when each chunk came out.
type book struct {
	clock *fakeClock
	text  bytes.Buffer
	at    []time.Duration
	ended bool
	line  *line
}

func (b *book) Write(p []byte) (int, error) {
	b.at = append(b.at, b.clock.now().Sub(time.Unix(0, 0)))
	return b.text.Write(p)
}

func (b *book) CloseWrite() error {
	b.ended = true
	b.line.close()
	return nil
}

// fakeClock moves when somebody sleeps, and by nothing else.
type fakeClock struct {
	mu   sync.Mutex
	time time.Duration
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(0, 0).Add(c.time)
}

func (c *fakeClock) sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time += d
}

func TestTheDelayIsThatOfALongWireNotOfASlowOne(t *testing.T) {
	c := &fakeClock{}
	const delay, chunks = time.Hour, 1000
	l := newLine(delay, clock{c.now, c.sleep})
	out := &book{clock: c, line: l}
	for i := range chunks {
		l.put([]byte{byte(i)}, out)
		c.sleep(time.Second)
	}
	l.put(nil, out)
	l.run()
	if !out.ended {
		t.Error("the end of the stream did not come through")
	}
	for i := range chunks {
		if want := delay + time.Duration(i)*time.Second; out.at[i] != want || out.text.Bytes()[i] != byte(i) {
			t.Fatalf("chunk %d came out as %d after %v, want %v", i, out.text.Bytes()[i], out.at[i], want)
		}
	}
}

// echo serves until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

func through(t *testing.T, rtt time.Duration) *Proxy {
	t.Helper()
	p, err := Start(t.Context(), echo(t), rtt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestEveryByteComesThroughInOrderOnManyConnections(t *testing.T) {
	p := through(t, 500*time.Microsecond)
	var all sync.WaitGroup
	for seed := range uint64(8) {
		all.Go(func() {
			conn, err := net.Dial("tcp", p.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			sent := sha256.New()
			var sending sync.WaitGroup
			sending.Go(func() {
				random := rand.New(rand.NewPCG(seed, 1))
				for range 200 {
					b := make([]byte, 1+random.IntN(20_000))
					for i := range b {
						b[i] = byte(random.Uint32())
					}
					sent.Write(b)
					if _, err := conn.Write(b); err != nil {
						t.Error(err)
						return
					}
				}
				// The end of our stream, seen by the server, makes it end its own.
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil { //nolint:forcetypeassert // it was dialled as TCP
					t.Error(err)
				}
			})
			got := sha256.New()
			if _, err := io.Copy(got, conn); err != nil {
				t.Error(err)
			}
			sending.Wait()
			if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
				t.Errorf("connection %d: what came back is not what was sent", seed)
			}
		})
	}
	all.Wait()
}

// The lower bound holds on the slowest machine; there is no upper one to assert.
func TestARoundTripTakesAtLeastTheDelay(t *testing.T) {
	const rtt = 3 * time.Millisecond
	conn, err := net.Dial("tcp", through(t, rtt).Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 20 {
		begin := time.Now()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < rtt {
			t.Errorf("a round trip took %v, less than %v", took, rtt)
		}
	}
}

func TestCloseEndsConnectionsInUse(t *testing.T) {
	p := through(t, time.Hour)
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		p.Close()
	}()
	<-closed
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a byte came through a proxy that was closed")
	}
}
