//go:build unix

package main

import (
	"regexp"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The connection string that is printed works until Ctrl-C. Then nothing is left.
func TestServer(t *testing.T) {
	t.Parallel()
	p := start(t, "server")
	p.until(p.stdout, "lockkeeper ls deploy")
	found := regexp.MustCompile(`export LOCKKEEPER_DSN='([^']+)'`).FindStringSubmatch(p.stdout.String())
	if found == nil {
		t.Fatalf("there is no connection string:\n%s", p.stdout)
	}
	conn, err := pgx.Connect(t.Context(), found[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock(1)"); err != nil {
		t.Error(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	postmaster := p.postmaster()
	p.signal(syscall.SIGINT)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d: %s", status, p.stderr)
	}
	p.mustBeClean(postmaster)
}
