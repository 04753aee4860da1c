package harness

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestOthersAreWithoutOurs(t *testing.T) {
	needProc(t)
	for tries := 1; ; tries++ { // a process that ends while they are read may be missing in one of them
		began := time.Now()
		all, err := others()
		if err != nil {
			t.Fatal(err)
		}
		// Process 1 is the ancestor of all that anybody has started: with it there is less left, and once is enough.
		once, err := others(1)
		if err != nil {
			t.Skip("process 1 cannot be looked at: ", err)
		}
		twice, err := others(1, 1, os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		// The machine goes on between the readings, and during each.
		slack := time.Second + time.Duration(runtime.NumCPU())*time.Since(began)
		if once < all && twice+slack >= once {
			return
		}
		if tries == 5 {
			t.Fatalf("all %v, without process 1 %v, without it twice %v", all, once, twice)
		}
	}
}

func TestCPUOfChildrenIsCountedBeforeAndAfterTheyEnd(t *testing.T) {
	needProc(t)
	before, err := Meter{Server: os.Getpid()}.Read()
	if err != nil {
		t.Fatal(err)
	}
	// A child that burns CPU until it has used some, and then waits to be told to end.
	child := exec.CommandContext(t.Context(), "/bin/sh", "-c", `i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo; read x`)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	alive, err := Meter{Server: os.Getpid()}.Read()
	if err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	_ = child.Wait()
	ended, err := Meter{Server: os.Getpid()}.Read()
	if err != nil {
		t.Fatal(err)
	}
	used := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	for name, got := range map[string]Reading{"living": alive, "ended": ended} {
		// Ticks are cut off, twice for a process that has ended, and the shell's last steps come after the reading.
		client, server := got.Client-before.Client, got.Server-before.Server
		if client < used-4*tick || server < used-4*tick {
			t.Errorf("%s: %v and %v were counted, the child used %v", name, client, server, used)
		}
	}
}

func TestPeakIsNotBelowTheMemoryNow(t *testing.T) {
	needProc(t)
	now, err := RSS()
	if err != nil || now < 1<<20 {
		t.Fatalf("RSS is %d, %v", now, err)
	}
	if peak, err := peakRSS(); err != nil || peak < now {
		t.Errorf("the peak is %d, %v; it was %d before", peak, err, now)
	}
}

func TestConnectionsAreCountedOnBothKindsOfSocket(t *testing.T) {
	needProc(t)
	folder, err := os.MkdirTemp("", "lkbench") // a short path: that of a unix socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(folder, "s")} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		address = listener.Addr().String()
		for want := range 4 {
			if got, err := Connections(address); err != nil || got != want {
				t.Errorf("%s: %d connections, %v; want %d", network, got, err, want)
			}
			conn, err := net.Dial(network, address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			accepted, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = accepted.Close() })
		}
		_ = listener.Close()
	}
}

func TestOnlyOwnEstablishedConnectionsToTheAddressCount(t *testing.T) {
	text := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:AAAA 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:AAAB 0100007F:1F90 06 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0100007F:AAAC 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 13 1
   3: 0100007F:1F90 0100007F:AAAA 01 00000000:00000000 00:00000000 00000000     0        0 14 1
   4: 0100007F:AAAA 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 11 1
`
	// A folder as Linux's /proc, with a process that has three sockets and a name that is hard to read.
	proc := t.TempDir()
	for name, text := range map[string]string{"net/tcp": text,
		"42/stat": "42 (a) R (b c) S 1 42 42 0 -1 4194560 1 2 3 4 100 20 3000 400 20 0 1 0 99 0 0" + strings.Repeat(" 0", 30) + "\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(proc, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, socket := range []string{"socket:[11]", "socket:[12]", "socket:[14]"} {
		if err := os.MkdirAll(filepath.Join(proc, "42/fd"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(socket, filepath.Join(proc, "42/fd", strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := connections(proc, 42, "127.0.0.1:8080"); err != nil || got != 1 {
		t.Errorf("%d connections, %v; want 1", got, err)
	}
	if all, err := processes(proc); err != nil || cpu(all[1]) != 3520*tick {
		t.Errorf("got %v, %v; want the time in user and system mode, with that of children", cpu(all[1]), err)
	}
}

func needProc(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this machine has no /proc")
	}
}
