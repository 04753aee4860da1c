package netfault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/netfault"
)

// echoVariable makes this binary the other end of a test, in the server's namespace.
const echoVariable = "LOCKKEEPER_TEST_ECHO"

func TestMain(m *testing.M) {
	if addr := os.Getenv(echoVariable); addr != "" {
		if err := echo(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func newNetwork(t *testing.T) *netfault.Network {
	t.Helper()
	n, err := netfault.New(t.Context())
	switch {
	case errors.Is(err, netfault.ErrUnsupported) && os.Getenv("CI") != "true":
		t.Skip("this test needs network namespaces: ", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// echo answers one byte with itself.
func echo(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	_, err = io.Copy(conn, conn)
	return err
}

func TestPacketsVanish(t *testing.T) {
	n := newNetwork(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort(netfault.ServerAddr, "4711")
	cmd := exec.Command("nsenter", "--net="+n.ServerNS(), "--", exe)
	cmd.Env = append(os.Environ(), echoVariable+"="+addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()         //nolint:errcheck // it was killed
	defer cmd.Process.Kill() //nolint:errcheck // it may have ended
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var conn net.Conn
	for conn == nil { // until the other end listens
		if conn, err = n.DialContext(ctx, "tcp", addr); err != nil && ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	if host, _, err := net.SplitHostPort(conn.LocalAddr().String()); err != nil || host != netfault.ClientAddr {
		t.Errorf("dialled from %s", host)
	}
	echoes := func(within time.Duration) bool {
		if err := conn.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte{1}); err != nil {
			return false
		}
		if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		_, err := conn.Read(make([]byte, 1))
		return err == nil
	}
	if !echoes(30 * time.Second) {
		t.Fatal("nothing comes through a healthy network")
	}
	for _, d := range []netfault.Direction{netfault.ToServer, netfault.ToClient, netfault.Both} {
		if err := n.Cut(ctx, d); err != nil {
			t.Fatal(err)
		}
		if echoes(300 * time.Millisecond) {
			t.Errorf("an echo came although the network is cut %s", d)
		}
		if err := n.Heal(ctx); err != nil {
			t.Fatal(err)
		}
		// What was sent is sent again by the kernel, and its echo comes late.
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatalf("after the network was healed: %v", err)
		}
	}
	// The rest of this process has not moved: no thread sees the namespace's end of the cable.
	var threads sync.WaitGroup
	for range 50 {
		threads.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if _, err := net.InterfaceByName("lkclient"); err == nil {
				t.Error("a thread is left in the namespace")
			}
		})
	}
	threads.Wait()
}
