package measure

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestStatOfAProgramWithParenthesesInItsName(t *testing.T) {
	line := "4711 (a) R (b c) S 42 4711 4711 0 -1 4194560 1 2 3 4 100 20 3000 400 20 0 1 0 99 0 0\n"
	got, err := parseStat([]byte(line))
	if want := (stat{pid: 4711, parent: 42, ticks: 100 + 20 + 3000 + 400}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 name S 1", "1 (x) S 1 2 3", "x (x) S 1 1 1 0 -1 1 1 1 1 1 1 1 1 1 1", "1 (x) S 1 1 1 0 -1 1 1 1 1 1 1 x 1 1 1"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}

func TestStatusInBytes(t *testing.T) {
	text := "Name:\tVmHWM\nVmPeak:\t  100 kB\nVmHWM:\t   2048 kB\nThreads:\t3\n"
	if got, err := parseStatus(text, "VmHWM"); err != nil || got != 2048<<10 {
		t.Errorf("got %d, %v", got, err)
	}
	for _, field := range []string{"VmRSS", "Threads"} {
		if got, err := parseStatus(text, field); err == nil {
			t.Errorf("%s was read as %d", field, got)
		}
	}
}

func TestBusyIsWithoutIdlenessAndWaitingForDisks(t *testing.T) {
	if got, err := parseBusy("cpu  1 20 300 77777 88888 4000 50000 600000 5 5\ncpu0 1 1 1 1 1 1 1 1\n"); err != nil || got != 654321 {
		t.Errorf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu 1 2 x 4 5 6 7 8"} {
		if got, err := parseBusy(bad); err == nil {
			t.Errorf("%q was read as %d", bad, got)
		}
	}
}

func TestOthersAreWithoutOurs(t *testing.T) {
	needProc(t)
	all, err := Others()
	if err != nil {
		t.Fatal(err)
	}
	// Process 1 is the ancestor of all that anybody has started: with it there is less left, and once is enough.
	once, err := Others(1)
	if err != nil {
		t.Skip("process 1 cannot be looked at: ", err)
	}
	twice, err := Others(1, 1, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// A second of slack: the machine goes on between the readings.
	if once >= all || twice+time.Second < once {
		t.Errorf("all %v, without process 1 %v, without it twice %v", all, once, twice)
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
	alive, err := Meter{Server: os.Getpid()}.Since(before)
	if err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	_ = child.Wait()
	ended, err := Meter{Server: os.Getpid()}.Since(before)
	if err != nil {
		t.Fatal(err)
	}
	used := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	for name, got := range map[string]Reading{"living": alive, "ended": ended} {
		// Ticks are cut off, twice for a process that has ended, and the shell's last steps come after the reading.
		if got.Client < used-4*tick || got.Server < used-4*tick {
			t.Errorf("%s: %v and %v were counted, the child used %v", name, got.Client, got.Server, used)
		}
	}
}

func TestPeakIsNotBelowTheMemoryNow(t *testing.T) {
	needProc(t)
	now, err := RSS(os.Getpid())
	if err != nil || now < 1<<20 {
		t.Fatalf("RSS is %d, %v", now, err)
	}
	if peak, err := PeakRSS(); err != nil || peak < now {
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
	own := map[string]bool{"11": true, "12": true, "14": true}
	if got, err := countTCP(text, netip.MustParseAddrPort("127.0.0.1:8080"), own); err != nil || got != 1 {
		t.Errorf("%d connections, %v; want 1", got, err)
	}
}

func needProc(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this machine has no /proc")
	}
}
