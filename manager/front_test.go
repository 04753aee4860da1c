package manager_test

import (
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// envPooler is "session" where tests connect through a PgBouncer in session mode, one of each test's own: make fence-proof and the matrix set it.
const envPooler = "LOCKKEEPER_TEST_POOLER"

var fronts sync.Map // of watch: the DSN of a test's pooler before a server

// front is the DSN by which a test reaches a server: the server's own, or that of a pooler which goes with the test.
func front(t *testing.T, s *pgserver.Server) string {
	t.Helper()
	mode := os.Getenv(envPooler)
	if mode == "" {
		return dsn(s)
	}
	w := watch{t, s}
	if known, there := fronts.Load(w); there {
		return fmt.Sprint(known)
	}
	t.Cleanup(func() { fronts.Delete(w) })
	b := pgtest.NewBouncer(t, s, pgserver.Database, map[string]string{"pool_mode": mode, "default_pool_size": "60"})
	address := b.DSN + "&application_name=" + url.PathEscape(applicationName)
	fronts.Store(w, address)
	return address
}

// withoutPooler skips a test that says nothing behind a pooler.
func withoutPooler(t *testing.T, why string) {
	t.Helper()
	if os.Getenv(envPooler) != "" {
		t.Skip(why)
	}
}
