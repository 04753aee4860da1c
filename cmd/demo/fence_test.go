//go:build unix

package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/fence"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestFenceOnAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	p := start(t, "fence", "--duration", "1s", "--json")
	status := p.wait()
	var r fence.Report
	decoder := json.NewDecoder(strings.NewReader(p.stdout.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil || decoder.More() {
		t.Fatalf("standard output is not one object (%v):\n%s\n%s", err, p.stdout, p.stderr)
	}
	if status != 0 || len(r.Ways) != 3 || !strings.HasPrefix(r.Server, "PostgreSQL ") || r.Leaked != noLeak {
		t.Fatalf("exit status %d\n%s\n%s", status, p.stdout, p.stderr)
	}
	for i, way := range []fence.Way{fence.None, fence.Guard, fence.Token} {
		got := r.Ways[i]
		if got.Way != way || got.Rounds < 1 || (way == fence.None) != (got.Lost > 0) || (way == fence.None) != (got.Stale > 0) {
			t.Errorf("%+v", got)
		}
	}
	p.mustBeClean(0)
}

// In a database of the user's nothing is left, but the tables for tokens where they were there before.
func TestFenceOnAServerOfTheUsers(t *testing.T) {
	t.Parallel()
	s, name := pgtest.NewDatabase(t)
	conn, err := pgx.Connect(t.Context(), s.DSNOf(name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, before := range []bool{false, true} {
		if before {
			if err := manager.Migrate(t.Context(), conn); err != nil {
				t.Fatal(err)
			}
		}
		p := start(t, "fence", "--duration", "1ms", "--dsn", s.DSNOf(name))
		if status := p.wait(); status != 0 {
			t.Errorf("exit status %d: %s", status, p.stderr)
		}
		contains(t, p.stdout.String(), "It is stopped.", "is woken and writes 1. The server says yes", "It is refused: guard", "WRITES ARE LOST, as was to be shown",
			"NOTHING LOST", "server locks 0 · connections 0 · goroutines 0")
		p.mustBeClean(0)
		var tables, rows int
		err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relname LIKE 'lockkeeper%' OR relname = 'fence'").Scan(&tables)
		if err == nil && before {
			err = conn.QueryRow(t.Context(), "SELECT count(*) FROM lockkeeper.fence").Scan(&rows)
		}
		if err != nil || rows != 0 || tables != map[bool]int{true: 1, false: 0}[before] {
			t.Errorf("migrated before: %v; %d tables and %d rows are left, %v", before, tables, rows, err)
		}
	}
}

func TestInterruptedFenceRemovesEverything(t *testing.T) {
	t.Parallel()
	p := start(t, "fence")
	p.until(p.stdout, "It is stopped")
	postmaster := p.postmaster()
	p.signal(syscall.SIGINT)
	if status := p.wait(); status != 130 {
		t.Errorf("exit status %d, want 130\n%s\n%s", status, p.stdout, p.stderr)
	}
	p.mustBeClean(postmaster)
}
