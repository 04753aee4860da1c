package stage

import (
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/forward"
)

// echo answers every byte.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

func TestAForwarderTakesOrders(t *testing.T) {
	in, orders := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- RunForwarder(t.Context(), in, out) }()
	encode := json.NewEncoder(orders)
	if err := encode.Encode(forwarderJob{Listen: []string{"127.0.0.1:0"}, To: []string{echo(t)}}); err != nil {
		t.Fatal(err)
	}
	var bound forwarderBound
	if err := json.NewDecoder(answers).Decode(&bound); err != nil || len(bound.Addresses) != 1 {
		t.Fatalf("%+v, %v", bound, err)
	}
	conn, err := net.Dial("tcp", bound.Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	round := func() time.Duration {
		began := time.Now()
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
		return time.Since(began)
	}
	round()
	const delay = 30 * time.Millisecond
	if err := encode.Encode(forward.Pace{Delay: delay}); err != nil {
		t.Fatal(err)
	}
	// The order is read by another goroutine: soon, a round trip takes twice the delay, and never less after that.
	for round() < 2*delay {
	}
	if took := round(); took < 2*delay {
		t.Errorf("it took %v", took)
	}
	if err := encode.Encode(forward.Pace{}); err != nil {
		t.Fatal(err)
	}
	for round() >= 2*delay {
	}
	orders.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
