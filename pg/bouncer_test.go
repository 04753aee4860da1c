package pg

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// startBouncer puts a PgBouncer before a test's database and returns its DSN. It goes with the test.
func startBouncer(t *testing.T, d database, settings map[string]string) (dsn string) {
	t.Helper()
	return pgtest.NewBouncer(t, d.Server, d.name, settings).DSN
}
