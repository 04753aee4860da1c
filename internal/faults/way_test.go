package faults

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// way is how a test reaches a server.
type way struct {
	name string
	opts []manager.Option
	// reach gives the source of connections to a server. What stands between goes with the test.
	reach func(t *testing.T, s *pgserver.Server) manager.Source
}

// eachWay runs a test on the server itself, and on a PgBouncer in transaction mode before it.
func eachWay(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for _, w := range []way{
		{name: "direct", reach: func(t *testing.T, s *pgserver.Server) manager.Source { t.Helper(); return near(t, s) }},
		{name: "behind a transaction pooler", reach: func(t *testing.T, s *pgserver.Server) manager.Source {
			t.Helper()
			return source(t, parse(t, pgtest.NewBouncer(t, s, pgserver.Database, map[string]string{"pool_mode": "transaction",
				"default_pool_size": "60", "server_login_retry": "1"}).DSN))
		}, opts: []manager.Option{manager.WithTransactionPooler()}},
	} {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}

// open gives a manager on connections of this way.
func (w way) open(t *testing.T, src manager.Source, opts ...manager.Option) *manager.Manager {
	t.Helper()
	return open(t, src, append(opts, w.opts...)...)
}
