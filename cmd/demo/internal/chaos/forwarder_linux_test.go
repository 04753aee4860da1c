package chaos

import (
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

func TestAForwarderDelaysWhatPasses(t *testing.T) {
	f := &forwarder{}
	t.Cleanup(func() {
		for _, one := range f.all {
			one.Close()
		}
	})
	var addresses []string
	if err := f.Listen([]string{"127.0.0.1:0", echo(t), echo(t)}, &addresses); err != nil || len(addresses) != 2 {
		t.Fatalf("%q, %v", addresses, err)
	}
	for _, address := range addresses {
		conn, err := net.Dial("tcp", address)
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
		if err := f.SetPace(forward.Pace{Delay: delay}, nil); err != nil {
			t.Fatal(err)
		}
		if took := round(); took < 2*delay {
			t.Errorf("it took %v", took)
		}
		if err := f.SetPace(forward.Pace{}, nil); err != nil {
			t.Fatal(err)
		}
		for round() >= 2*delay { // soon it is as fast as before
		}
	}
}
