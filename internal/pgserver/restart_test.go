//go:build unix

package pgserver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestRestartKeepsPortAndData(t *testing.T) {
	s := pgtest.New(t, pgserver.Options{Settings: map[string]string{"cluster_name": `it's \ set`}})
	if got := one(t, s, "SHOW cluster_name"); got != `it's \ set` {
		t.Errorf("a setting arrived as %q", got)
	}
	dsn := s.TCPDSN()
	for _, mode := range []pgserver.StopMode{pgserver.Smart, pgserver.Fast, pgserver.Immediate} {
		t.Run(string(mode), func(t *testing.T) {
			if _, err := s.Exec(testContext(t), "CREATE TABLE after_"+string(mode)+" ()"); err != nil {
				t.Fatal(err)
			}
			before := s.PID()
			if err := s.Restart(testContext(t), mode); err != nil {
				t.Fatal(err)
			}
			if s.PID() == before || s.TCPDSN() != dsn {
				t.Errorf("pid %d -> %d, %s -> %s", before, s.PID(), dsn, s.TCPDSN())
			}
			if got := one(t, s, "SELECT count(*) FROM after_"+string(mode)); got != "0" {
				t.Errorf("count = %s", got)
			}
		})
	}
	t.Run("stop, then start", func(t *testing.T) {
		if err := s.Stop(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if s.PID() != 0 {
			t.Errorf("PID = %d of a stopped server", s.PID())
		}
		if _, err := s.Exec(testContext(t), "SELECT 1"); err == nil {
			t.Error("a stopped server answered")
		}
		for range 2 { // the second finds it running
			if err := s.Start(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		one(t, s, "SELECT 1")
	})
	t.Run("killed, then restarted", func(t *testing.T) {
		if err := s.SignalAll(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(testContext(t), pgserver.Fast); err != nil {
			t.Fatal(err)
		}
		one(t, s, "SELECT 1")
	})
	t.Run("only the postmaster killed", func(t *testing.T) {
		if err := s.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(testContext(t), pgserver.Fast); err != nil {
			t.Fatal(err)
		}
		one(t, s, "SELECT 1")
	})
}

func TestStoppedProcessesAnswerNothingUntilContinued(t *testing.T) {
	s := pgtest.New(t, pgserver.Options{})
	if err := s.SignalAll(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.TCPAddr())
	if err != nil {
		t.Fatal("the kernel should accept for a stopped server:", err)
	}
	conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Exec(ctx, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
	if err := s.StopMode(ctx, pgserver.Fast); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop of a stopped server: %v", err)
	}
	if err := s.SignalAll(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(testContext(t), pgserver.Fast); err != nil { // the stop asked for above comes to its end
		t.Fatal(err)
	}
	one(t, s, "SELECT 1")
}

func TestStandbyFollowsAndIsPromoted(t *testing.T) {
	primary := pgtest.New(t, pgserver.Options{})
	standby := pgtest.Standby(t, primary)
	ctx := testContext(t)
	if got := one(t, standby, "SELECT pg_is_in_recovery()"); got != "t" {
		t.Fatalf("pg_is_in_recovery = %s", got)
	}
	if _, err := primary.Exec(ctx, "CREATE TABLE followed ()"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return one(t, standby, "SELECT count(*) FROM pg_class WHERE relname = 'followed'") == "1"
	})
	if _, err := standby.Exec(ctx, "CREATE TABLE refused ()"); err == nil {
		t.Error("a standby accepted a write")
	}
	if err := primary.StopMode(ctx, pgserver.Immediate); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := standby.Exec(ctx, "CREATE TABLE accepted ()"); err != nil {
		t.Error(err)
	}
}

// Two servers take turns: after a failover the old primary follows the new one, on the port that clients know.
func TestFollowAfterAFailover(t *testing.T) {
	first := pgtest.New(t, pgserver.Options{Settings: map[string]string{"wal_retrieve_retry_interval": "100ms"}})
	second := pgtest.Standby(t, first)
	ctx := testContext(t)
	ports := [2]int{first.Port(), second.Port()}
	for round := range 2 {
		table := fmt.Sprint("round_", round)
		if err := first.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if err := second.Promote(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := second.Exec(ctx, "CREATE TABLE "+table+" ()"); err != nil {
			t.Fatal(err)
		}
		if err := first.Follow(ctx, second); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool {
			return one(t, first, "SELECT pg_is_in_recovery() AND EXISTS (SELECT FROM pg_class WHERE relname = '"+table+"')") == "t"
		})
		first, second = second, first
	}
	if got := [2]int{first.Port(), second.Port()}; got != ports {
		t.Errorf("the ports are %v, were %v", got, ports)
	}
}
