//go:build unix

package pgserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// What one call of Exec does to its session is nothing to the next, whether they share a connection or not.
func TestExecKeepsItsConnectionAndNoState(t *testing.T) {
	for _, keep := range []bool{true, false} {
		s := pgtest.New(t, pgserver.Options{KeepConnection: keep})
		first := one(t, s, "SELECT pg_backend_pid()")
		if second := one(t, s, "SELECT pg_backend_pid()"); (first == second) != keep {
			t.Errorf("KeepConnection %v: backends %s and %s", keep, first, second)
		}
		one(t, s, "SELECT pg_advisory_lock(7)::text || set_config('work_mem', '77MB', false)")
		if got := one(t, s, "SHOW work_mem"); got != "4MB" {
			t.Errorf("KeepConnection %v: the setting is %s", keep, got)
		}
		eventually(t, func() bool { // a connection's end is heard of a moment later
			return one(t, s, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
		})
		if _, err := s.Exec(testContext(t), "BEGIN; SELECT 1/0"); err == nil || !strings.Contains(err.Error(), "22012") {
			t.Errorf("%v", err)
		}
		one(t, s, "SELECT 'as good as new'")
		_, _ = s.Exec(testContext(t), "SELECT pg_terminate_backend(pg_backend_pid())")
		one(t, s, "SELECT 'and once more'")
	}
}

// Servers that start from one copy are each other's equals in nothing that matters: password, port, data. The folder of the copy may be
// named from where the process is.
func TestServersFromATemplate(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv(pgserver.TemplatesVariable, "templates")
	var passwords []string
	for range 2 {
		s := pgtest.New(t, pgserver.Options{})
		conn, err := pgx.Connect(testContext(t), s.TCPDSN())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(testContext(t)); err != nil {
			t.Error(err)
		}
		if got := one(t, s, "SELECT count(*) FROM pg_class WHERE relname = 'mine'"); got != "0" {
			t.Error("the table of an earlier server is there")
		}
		if _, err := s.Exec(testContext(t), "CREATE TABLE mine ()"); err != nil {
			t.Error(err)
		}
		passwords = append(passwords, s.Password())
	}
	if passwords[0] == passwords[1] {
		t.Error("they have one password")
	}
	made, err := filepath.Glob(filepath.Join(os.Getenv(pgserver.TemplatesVariable), "*"))
	if err != nil || len(made) != 1 {
		t.Errorf("templates %v, %v", made, err)
	}
}
