package faults

import (
	"net/url"
	"os"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/netfault"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// way is how a test reaches a server.
type way struct {
	name          string
	inTransaction bool
	// late says that what stands between does not pass on the server's last word: the next health question finds that a session has ended.
	late bool
	// asks says that what stands between has questions of its own to the server, and ends the session where one fails.
	asks bool
	// stand gives the DSN, over TCP, of what stands before a server in a place, or of the server. What stands between goes with the test.
	stand func(t *testing.T, s *pgserver.Server, at pgtest.Place) string
}

func direct(_ *testing.T, s *pgserver.Server, _ pgtest.Place) string { return s.TCPDSN() }

func bouncer(mode string) func(*testing.T, *pgserver.Server, pgtest.Place) string {
	return func(t *testing.T, s *pgserver.Server, at pgtest.Place) string {
		t.Helper()
		return pgtest.NewBouncerAt(t, s, pgserver.Database, at, map[string]string{"pool_mode": mode, "default_pool_size": "60",
			"server_login_retry": "1"}).DSN
	}
}

// pgpool keeps no connection after its client's: one that it keeps would be the audit's finding.
func pgpool(t *testing.T, s *pgserver.Server, at pgtest.Place) string {
	t.Helper()
	return pgtest.NewPgpoolAt(t, []*pgserver.Server{s}, at, map[string]string{"connection_cache": "off"}).DSN
}

// ways are the server itself and a PgBouncer in transaction mode before it; in the matrix of poolers the others too.
func ways() []way {
	all := []way{{name: "direct", stand: direct}, {name: "behind a transaction pooler", inTransaction: true, stand: bouncer("transaction")}}
	if os.Getenv(pgtest.EnvPoolers) == "true" {
		all = append(all, way{name: "behind a session pooler", stand: bouncer("session")}, way{name: "behind pgpool", late: true, asks: true, stand: pgpool},
			way{name: "in a transaction behind pgpool", inTransaction: true, late: true, asks: true, stand: pgpool})
	}
	return all
}

// eachWay runs a test in each way.
func eachWay(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}

// front is what stands before a server on this machine.
func (w way) front(t *testing.T, s *pgserver.Server) string {
	t.Helper()
	return w.stand(t, s, pgtest.Place{})
}

// namedFront is front, for sessions that have the name application at the server.
func (w way) namedFront(t *testing.T, s *pgserver.Server) string {
	t.Helper()
	u, err := url.Parse(w.front(t, s))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("application_name", application)
	u.RawQuery = q.Encode()
	return u.String()
}

// through makes connections to the far server from the network's other end. What stands between is at the server's end.
func (w way) through(t *testing.T, s *pgserver.Server, n *netfault.Network) manager.Source {
	t.Helper()
	config := parse(t, w.stand(t, s, pgtest.Place{NetNS: n.ServerNS(), Address: netfault.ServerAddr}))
	config.Host = netfault.ServerAddr
	config.DialFunc = n.DialContext
	return source(t, config)
}

// reach gives the source of connections to a server.
func (w way) reach(t *testing.T, s *pgserver.Server) manager.Source {
	t.Helper()
	return source(t, parse(t, w.front(t, s)))
}

// open gives a manager on connections of this way.
func (w way) open(t *testing.T, src manager.Source, opts ...manager.Option) *manager.Manager {
	t.Helper()
	return open(t, src, w.with(opts)...)
}

// with adds the options of this way.
func (w way) with(opts []manager.Option) []manager.Option {
	if w.inTransaction {
		opts = append(opts, manager.WithTransactionPooler())
	}
	return opts
}

// needsSessionTimeout skips where the server does not end a silent session of this way.
func (w way) needsSessionTimeout(t *testing.T, s *pgserver.Server) {
	t.Helper()
	if !w.inTransaction {
		needsSessionTimeout(t, s)
	}
}

// needsCutsSeen skips where the server does not see that the network between a client and its pooler is cut: its own connection is up, and it
// does not end a silent session.
func (w way) needsCutsSeen(t *testing.T, s *pgserver.Server) {
	t.Helper()
	if w.name != "direct" {
		w.needsSessionTimeout(t, s)
	}
}
