package pg

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// startBouncer puts a PgBouncer before a test's database and returns its DSN. It goes with the test.
func startBouncer(t *testing.T, d database, settings map[string]string) (dsn string) {
	t.Helper()
	return pgtest.NewBouncer(t, d.Server, d.name, settings).DSN
}

// A7. A pooler without enough connections: the error says how many are needed. With as many it works.
func TestA7_APoolerWithFewConnections(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	for size, enough := range map[string]bool{"3": false, "4": true} {
		dsn := startBouncer(t, d, map[string]string{"pool_mode": "session", "default_pool_size": size, "server_reset_query": "DISCARD ALL"})
		config := quick()
		if !enough {
			config.ConnectTimeout = 4 * time.Second
		}
		var err error
		eventually(t, "it opens, or tells how many it needs", func() bool { // where it stood still it tells only that nothing was answered
			var p *Pool
			if p, err = Open(within(t), sourceOf(t, dsn), config); err == nil {
				closePool(t, p)
				return true
			}
			return enough || !errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(err.Error(), "no session to spare: opening takes 4 at once")
		})
		if enough != (err == nil) || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("with %s connections: %v", size, err)
		}
	}
}

// A7. A pooler that gives up a client for whom no connection came free: it is short of connections, and not unsafe.
func TestA7_APoolerWhoseQueueIsShort(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := startBouncer(t, d, map[string]string{"pool_mode": "session", "default_pool_size": "3", "query_wait_timeout": "1",
		"server_reset_query": "DISCARD ALL"})
	_, err := Open(within(t), sourceOf(t, dsn), quick())
	if err == nil || errors.Is(err, ErrUnsafe) || !Transient(err) || !strings.Contains(err.Error(), "query_wait_timeout") {
		t.Error(err)
	}
}
