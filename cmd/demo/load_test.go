//go:build unix

package main

import (
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/load"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

var noLeak server.Leaked

func decode(t *testing.T, p *program) load.Report {
	t.Helper()
	var l load.Report
	decoder := json.NewDecoder(strings.NewReader(p.stdout.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil || decoder.More() {
		t.Fatalf("standard output is not one object (%v):\n%s\n%s", err, p.stdout, p.stderr)
	}
	return l
}

func TestLoadProvesExclusion(t *testing.T) {
	t.Parallel()
	p := start(t, "load", "--processes", "2", "--workers", "8", "--keys", "3", "--cancel", "0.2", "--hold", "5ms", "--duration", "2s", "--json")
	status := p.wait()
	l := decode(t, p)
	if status != 0 || l.Violations != 0 || l.Leaked != noLeak || l.Failed != 0 || l.Lost != 0 {
		t.Errorf("exit status %d\n%+v\n%s", status, l, p.stderr)
	}
	if l.Acquired == 0 || l.Cancelled == 0 || l.Sessions == 0 || l.FairnessJain <= 0 || l.WaitMS.Max <= 0 || l.AcquiredPerSecond <= 0 {
		t.Errorf("something that must have happened did not: %+v", l)
	}
	if !strings.HasPrefix(l.Server, "PostgreSQL ") || l.Processes != 2 || l.Workers != 8 || l.Keys != 3 || l.Seconds < 2 {
		t.Errorf("the settings are not those asked for: %+v", l)
	}
	contains(t, p.stderr.String(), "throwaway", "acquired", "wait p50")
	p.mustBeClean(0)
}

func TestLoadWithReaders(t *testing.T) {
	t.Parallel()
	p := start(t, "load", "--processes", "2", "--workers", "8", "--keys", "2", "--readers", "0.8", "--cancel", "0.1", "--hold", "5ms", "--duration", "2s", "--json")
	status := p.wait()
	l := decode(t, p)
	if status != 0 || l.Violations != 0 || l.Leaked != noLeak || l.Failed != 0 || l.Lost != 0 {
		t.Errorf("exit status %d\n%+v\n%s", status, l, p.stderr)
	}
	if l.Readers == nil || l.Writers == nil {
		t.Fatalf("readers and writers are not told apart: %+v", l)
	}
	// Eight workers of a process are on two keys: some meet on one of them.
	if l.Readers.Acquired <= l.Writers.Acquired || l.Writers.Acquired == 0 || l.Readers.MostAtOnce < 2 || l.Writers.WaitMS.Max <= 0 || l.Readers.WaitMS.Max <= 0 {
		t.Errorf("readers %+v, writers %+v", l.Readers, l.Writers)
	}
	p.mustBeClean(0)
}

func TestLoadFindsReadersBesideWriters(t *testing.T) {
	t.Parallel()
	server, name := pgtest.NewDatabase(t)
	p := start(t, "load", "--processes", "2", "--workers", "8", "--keys", "3", "--hold", "20ms", "--duration", "2s", "--no-locks", "--readers", "0.5",
		"--dsn", server.DSNOf(name))
	if status := p.wait(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	contains(t, p.stdout.String(), "EXCLUSION VIOLATED", "NO LOCKS", "Readers whose counter changed")
	if strings.Contains(p.stdout.String(), "changed while they held: 0.") {
		t.Errorf("no reader saw the counter change:\n%s", p.stdout)
	}
	p.mustBeClean(0)
}

func TestLoadInWords(t *testing.T) {
	t.Parallel()
	p := start(t, "load", "--processes", "1", "--workers", "4", "--keys", "2", "--skew", "zipf", "--hold", "0", "--duration", "2s")
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	contains(t, p.stdout.String(), "EXCLUSION PROVEN", "0 violations", "fairness", "NOTHING LEFT BEHIND  server locks 0 · connections 0 · goroutines 0")
	if strings.Contains(p.stdout.String(), "\x1b") {
		t.Errorf("colours where there is no terminal:\n%q", p.stdout)
	}
	p.mustBeClean(0)
}

// A proof that cannot fail proves nothing.
func TestLoadFindsViolations(t *testing.T) {
	t.Parallel()
	server, name := pgtest.NewDatabase(t)
	args := []string{"load", "--processes", "2", "--workers", "8", "--keys", "3", "--hold", "20ms", "--duration", "2s", "--no-locks",
		"--dsn", server.DSNOf(name)}
	p := start(t, append(args, "--json")...)
	status := p.wait()
	if l := decode(t, p); status != 1 || l.Violations == 0 || l.Acquired == 0 || l.Leaked != noLeak {
		t.Errorf("exit status %d\n%+v\n%s", status, l, p.stderr)
	}
	p = start(t, args...)
	if status := p.wait(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	contains(t, p.stdout.String(), "EXCLUSION VIOLATED", "on 3 of 3 keys", "swallowed", "NO LOCKS")
	p.mustBeClean(0)
}

func TestLoadOnAServerOfTheUsers(t *testing.T) {
	t.Parallel()
	server, name := pgtest.NewDatabase(t)
	p := start(t, "load", "--processes", "2", "--workers", "4", "--keys", "2", "--hold", "5ms", "--duration", "2s", "--dsn", server.TCPDSNOf(name), "--json")
	status := p.wait()
	if l := decode(t, p); status != 0 || l.Acquired == 0 || l.Leaked != noLeak {
		t.Errorf("exit status %d\n%+v\n%s", status, l, p.stderr)
	}
	if strings.Contains(p.stderr.String()+p.stdout.String(), server.Password()) {
		t.Error("the password is repeated")
	}
	tables := query(t, server.DSNOf(name), `SELECT relname::text FROM pg_class WHERE relname LIKE 'lockkeeper%'`)
	if len(tables) != 0 {
		t.Errorf("tables are left: %v", tables)
	}
	if strings.Contains(p.stderr.String(), "throwaway") {
		t.Errorf("a throwaway server was started next to the user's:\n%s", p.stderr)
	}
	p.mustBeClean(0)
}

// query returns the only column of the rows.
func query(t *testing.T, dsn, sql string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestLoadSaysWhyItCannotConnect(t *testing.T) {
	t.Parallel()
	server, name := pgtest.NewDatabase(t)
	small := pgtest.New(t, pgserver.Options{Settings: map[string]string{"max_connections": "10", "superuser_reserved_connections": "3", "max_wal_senders": "0"}})
	wrong := strings.Replace(server.TCPDSNOf(name), server.Password(), "hunter2", 1)
	tests := []struct {
		name, dsn string
		want      []string
	}{
		{"unreachable", "postgres://u:hunter2@127.0.0.1:1/db", []string{"cannot connect to the server", "127.0.0.1:1", "is the server running"}},
		{"wrong password", wrong, []string{"28P01", "check the user and the password"}},
		{"unknown database", server.TCPDSNOf("nowhere"), []string{"3D000", "check the name of the database"}},
		{"malformed", "postgres://u:hunter2@[::1/x", []string{"connection string cannot be parsed"}},
		{"malformed words", "host=x password=hunter2 port=seven", []string{"connection string cannot be parsed"}},
		{"too few connections", small.TCPDSN(), []string{"too few connections", "max_connections 10, 3 of them reserved", "4 processes need 3 each, 12 in all"}},
	}
	for _, command := range []string{"load", "storm"} {
		for _, tt := range tests {
			if command == "storm" && strings.HasPrefix(tt.name, "too few") {
				continue // it needs very few
			}
			t.Run(command+" "+tt.name, func(t *testing.T) {
				p := start(t, command, "--dsn", tt.dsn, "--json")
				if status := p.wait(); status != 1 {
					t.Errorf("exit status %d, want 1", status)
				}
				contains(t, p.stderr.String(), tt.want...)
				all := p.stdout.String() + p.stderr.String()
				for _, secret := range []string{"hunter2", server.Password(), small.Password()} {
					if strings.Contains(all, secret) {
						t.Errorf("a password is repeated:\n%s", all)
					}
				}
				if p.stdout.String() != "" {
					t.Errorf("on standard output: %s", p.stdout)
				}
				p.mustBeClean(0)
			})
		}
	}
}

func TestInterruptedLoadRemovesEverything(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, "load", "--processes", "2", "--workers", "8", "--keys", "3", "--cancel", "0.2", "--hold", "20ms", "--duration", "10m")
			p.until(p.stdout, "acquired [1-9]")
			postmaster := p.postmaster()
			p.signal(s)
			if status := p.wait(); status != 130 {
				t.Errorf("exit status %d, want 130\n%s\n%s", status, p.stdout, p.stderr)
			}
			contains(t, p.stdout.String(), "Interrupted", "EXCLUSION PROVEN", "NOTHING LEFT BEHIND")
			p.mustBeClean(postmaster)
		})
	}
}

// A terminal sends the signal to the worker processes, too, which leave it to their parent.
func TestInterruptedInATerminal(t *testing.T) {
	t.Parallel()
	p := startGroup(t, "load", "--processes", "2", "--workers", "8", "--keys", "3", "--hold", "20ms", "--duration", "10m")
	p.until(p.stdout, "acquired [1-9]")
	postmaster := p.postmaster()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(); status != 130 {
		t.Errorf("exit status %d, want 130\n%s\n%s", status, p.stdout, p.stderr)
	}
	contains(t, p.stdout.String(), "Interrupted", "EXCLUSION PROVEN", "NOTHING LEFT BEHIND")
	p.mustBeClean(postmaster)
}

func TestInterruptedWhileTheServerStarts(t *testing.T) {
	t.Parallel()
	p := start(t, "load", "--duration", "10m")
	p.until(p.stdout, "Starting a throwaway")
	p.signal(syscall.SIGINT)
	if status := p.wait(); status != 130 {
		t.Errorf("exit status %d, want 130\n%s\n%s", status, p.stdout, p.stderr)
	}
	p.mustBeClean(0)
}

// What the program cannot do any more itself is done for it: killed, or interrupted twice.
func TestAKilledLoadLeavesNothingForLong(t *testing.T) {
	t.Parallel()
	for _, signals := range [][]syscall.Signal{{syscall.SIGKILL}, {syscall.SIGINT, syscall.SIGINT, syscall.SIGINT}} {
		t.Run(signals[0].String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, "load", "--processes", "2", "--workers", "8", "--keys", "3", "--hold", "1s", "--duration", "10m")
			p.until(p.stdout, "acquired [1-9]")
			postmaster := p.postmaster()
			for _, s := range signals {
				_ = p.cmd.Process.Signal(s) // it may have gone already
			}
			p.wait()
			eventually(t, func() bool { return p.clean(postmaster) })
		})
	}
}

// The reader of a pipe that goes away ends the load; it must not end its cleaning up.
func TestLoadWhoseReaderIsGone(t *testing.T) {
	t.Parallel()
	p := startShell(t, `"$0" load --processes 1 --workers 2 --duration 10m | head -n 3`)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d of the pipe", status)
	}
	eventually(t, func() bool { return p.clean(0) })
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("that never came about")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
