//go:build unix

package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/storm"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestStormLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, contexts := range []string{"--shared=false", "--shared"} {
		t.Run(contexts, func(t *testing.T) {
			p := start(t, "storm", "--waiters", "1000", "--keys", "100", "--bound", "30s", "--json", contexts)
			status := p.wait()
			var r storm.Report
			decoder := json.NewDecoder(strings.NewReader(p.stdout.String()))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&r); err != nil || decoder.More() {
				t.Fatalf("standard output is not one object (%v):\n%s\n%s", err, p.stdout, p.stderr)
			}
			if status != 0 || len(r.Rounds) != 2 || !strings.HasPrefix(r.Server, "PostgreSQL ") {
				t.Fatalf("exit status %d\n%s\n%s", status, p.stdout, p.stderr)
			}
			for i, keys := range []int{1, 100} {
				round := r.Rounds[i]
				if round.Waiters != 1000 || round.Keys != keys || round.ReturnedMS <= 0 || round.RetakeMS <= 0 || round.MemoryMiB.Peak <= 0 {
					t.Errorf("%+v", round)
				}
				if round.NotReturned+round.Granted+round.WrongErrors != 0 || round.Leaked != noLeak {
					t.Errorf("%+v", round)
				}
			}
			p.mustBeClean(0)
		})
	}
}

func TestStormInWordsOnAServerOfTheUsers(t *testing.T) {
	t.Parallel()
	server, name := pgtest.NewDatabase(t)
	p := start(t, "storm", "--waiters", "50", "--keys", "3", "--bound", "30s", "--dsn", server.DSNOf(name))
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d: %s", status, p.stderr)
	}
	contains(t, p.stdout.String(), "50 waiters on 1 key  EVERY CALL RETURNED", "50 waiters spread over 3 keys  EVERY CALL RETURNED",
		"server locks 0 · connections 0 · goroutines 0")
	p.mustBeClean(0)
}

// A bound that nothing can meet is broken, and the exit status says so.
func TestStormBeyondItsBound(t *testing.T) {
	t.Parallel()
	p := start(t, "storm", "--waiters", "5000", "--keys", "3", "--bound", "1ms")
	if status := p.wait(); status != 1 {
		t.Errorf("exit status %d: %s", status, p.stderr)
	}
	contains(t, p.stdout.String(), "FAILED", "and the bound is 1ms")
	p.mustBeClean(0)
}

func TestInterruptedStormRemovesEverything(t *testing.T) {
	t.Parallel()
	p := start(t, "storm", "--waiters", "100000")
	p.until(p.stdout, "100,000 waiters on 1 key")
	postmaster := p.postmaster()
	p.signal(syscall.SIGINT)
	if status := p.wait(); status != 130 {
		t.Errorf("exit status %d, want 130\n%s\n%s", status, p.stdout, p.stderr)
	}
	p.mustBeClean(postmaster)
}
