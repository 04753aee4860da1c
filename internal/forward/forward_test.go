package forward

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo serves until the test ends: it answers each byte with itself.
func echo(t *testing.T, network, address string) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), network, address)
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

func start(t *testing.T, network, target string) *Forwarder {
	t.Helper()
	f, err := Start(t.Context(), "127.0.0.1:0", network, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// through leads to an echo.
func through(t *testing.T) *Forwarder {
	t.Helper()
	return start(t, "tcp", echo(t, "tcp", "127.0.0.1:0"))
}

func dial(t *testing.T, f *Forwarder) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// answers reads what a text comes back as.
func answers(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got[:n], err, text)
	}
}

// silent checks that nothing comes. It cannot fail on a slow machine: there, nothing comes either.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes came, %v", n, err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

func TestEveryByteComesThroughInOrderOnManyConnections(t *testing.T) {
	for name, pace := range map[string]Pace{"at once": {}, "delayed": {Delay: 250 * time.Microsecond}, "with jitter": {Jitter: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			f := through(t)
			f.SetPace(pace)
			var all sync.WaitGroup
			for seed := range uint64(8) {
				all.Go(func() { roundTrip(t, f, seed, func(int) {}) })
			}
			all.Wait()
			if got := f.Accepted(); got != 8 {
				t.Errorf("%d connections were accepted, want 8", got)
			}
		})
	}
}

func TestTheOrderSurvivesEachChangeOfPace(t *testing.T) {
	f := through(t)
	roundTrip(t, f, 1, func(i int) {
		f.SetPace([]Pace{{}, {Delay: time.Millisecond}, {Delay: 100 * time.Microsecond, Jitter: time.Millisecond}}[i%3])
	})
}

// roundTrip sends many bytes and compares what comes back. before is called before each chunk.
func roundTrip(t *testing.T, f *Forwarder, seed uint64, before func(i int)) {
	conn, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	sent := sha256.New()
	var sending sync.WaitGroup
	sending.Go(func() {
		random := rand.NewChaCha8([32]byte{byte(seed)})
		for i := range 200 {
			before(i)
			b := make([]byte, 1+random.Uint64()%20_000)
			_, _ = random.Read(b)
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
}

// The lower bound holds on the slowest machine; there is no upper one to assert.
func TestARoundTripTakesAtLeastTwiceTheDelay(t *testing.T) {
	f := through(t)
	conn := dial(t, f)
	const delay = 3 * time.Millisecond
	for _, pace := range []Pace{{Delay: delay}, {Delay: delay, Jitter: time.Millisecond}} {
		f.SetPace(pace)
		for range 20 {
			began := time.Now()
			send(t, conn, "x")
			answers(t, conn, "x")
			if took := time.Since(began); took < 2*delay {
				t.Errorf("%+v: a round trip took %v", pace, took)
			}
		}
	}
}

func TestNothingPassesWhileItIsFrozenAndNothingIsLost(t *testing.T) {
	f := through(t)
	conn := dial(t, f)
	send(t, conn, "before")
	answers(t, conn, "before")
	for range 2 {
		f.Freeze()
		send(t, conn, "during")
		silent(t, conn)
		f.Thaw()
		answers(t, conn, "during")
	}
	// One that is closed need not be thawed.
	f.Freeze()
	send(t, conn, "x")
}

func TestAReplyIsCutOnOneConnection(t *testing.T) {
	f := through(t)
	for _, pace := range []Pace{{}, {Delay: time.Millisecond}} {
		f.SetPace(pace)
		for after := range 4 {
			other, conn := dial(t, f), dial(t, f)
			f.CutReply(after)
			send(t, conn, "abc")
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != "abc"[:after] {
				t.Errorf("cut after %d bytes: %q, %v", after, got, err)
			}
			send(t, other, "def")
			answers(t, other, "def")
		}
	}
}

func TestHangUpEndsEachConnectionThatThereIs(t *testing.T) {
	f := through(t)
	conns := []net.Conn{dial(t, f), dial(t, f)}
	for _, conn := range conns {
		send(t, conn, "x")
		answers(t, conn, "x")
	}
	f.HangUp()
	for _, conn := range conns {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes came from a connection that was hung up", n)
		}
	}
	conn := dial(t, f)
	send(t, conn, "y")
	answers(t, conn, "y")
}

func TestCloseEndsConnectionsInUse(t *testing.T) {
	f := through(t)
	f.SetPace(Pace{Delay: time.Hour})
	conn := dial(t, f)
	send(t, conn, "x")
	f.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a byte came through a forwarder that was closed")
	}
}

func TestATargetMayBeAUnixSocketOrGone(t *testing.T) {
	folder, err := os.MkdirTemp("", "forward") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket := filepath.Join(folder, "s")
	conn := dial(t, start(t, "unix", echo(t, "unix", socket)))
	send(t, conn, "x")
	answers(t, conn, "x")
	if n, err := dial(t, start(t, "unix", socket+"-gone")).Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came from nobody", n)
	}
	if _, err := Start(t.Context(), "no address", "tcp", ""); err == nil {
		t.Error("it listens at no address")
	}
}
