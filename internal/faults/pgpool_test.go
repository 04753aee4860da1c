package faults

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// pgpool-II before a primary and a standby: with its own settings it sends the statements of locks to the primary, since they have volatile
// functions, and both kinds of sessions work. Where somebody has told it which functions write, and has not named ours, it sends them to the
// standby, always or now and then: Open refuses it then, or, where Open sees nothing, the statement that comes to the standby ends its session. No lock is
// granted that excludes nobody.
func TestPgpool(t *testing.T) {
	primary := pgtest.New(t, pgserver.Options{})
	servers := []*pgserver.Server{primary, pgtest.Standby(t, primary)}
	for name, c := range map[string]struct {
		settings map[string]string
		works    bool
	}{
		"by default":                         {nil, true},
		"no connection cache":                {map[string]string{"connection_cache": "off"}, true},
		"reads go to the standby":            {map[string]string{"backend_weight0": "0"}, true},
		"reads go to either, each by itself": {map[string]string{"statement_level_load_balance": "on"}, true},
		"results are cached":                 {map[string]string{"memory_cache_enabled": "on"}, true},
		"no load balancing":                  {map[string]string{"load_balance_mode": "off", "write_function_list": "nextval,setval"}, true},
		"our functions do not write":         {map[string]string{"write_function_list": "nextval,setval"}, false},
		"our functions do not write, all go to the standby": {map[string]string{"write_function_list": "nextval,setval",
			"backend_weight0": "0"}, false},
		"our functions do not write, some go to the standby": {map[string]string{"write_function_list": "nextval,setval",
			"statement_level_load_balance": "on", "backend_weight1": "0.1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := pgtest.NewPgpool(t, servers, c.settings)
			direct := open(t, near(t, primary))
			for kind, opts := range map[string][]manager.Option{"a connection": nil, "a transaction": {manager.WithTransactionPooler()}} {
				t.Run(kind, func(t *testing.T) {
					accepted, lost, rounds := 0, 0, often(2, 40)
					for range rounds {
						m, err := manager.New(bounded(t), source(t, parse(t, p.DSN)), append(opts, manager.WithSharedSessions(1))...)
						switch {
						case err == nil:
							accepted++
							for name, reason := range m.Stats().SettingsRefused {
								if c.works && !strings.HasPrefix(name, "tcp_") && !strings.Contains(reason, "does not know it") { // those are for the server's end, which is a unix socket
									t.Errorf("%s: %s", name, reason)
								}
							}
							lost += excludes(t, m, direct)
							closeNow(t, m)
						case c.works:
							t.Fatal(err)
						case !errors.Is(err, manager.ErrUnsafe) || !strings.Contains(err.Error(), "load_balance_mode"):
							t.Errorf("the error does not name the cure: %v", err)
						}
					}
					if c.works && lost > 0 {
						t.Errorf("%d sessions were lost", lost)
					}
					t.Logf("accepted %d of %d, %d acquisitions failed or locks were lost", accepted, rounds, lost)
				})
			}
		})
	}
}

// excludes takes locks, many at once on a shared session and some on their own, and sees that each that is held excludes whoever is connected to
// the primary itself. It returns how many were lost, or could not be had.
func excludes(t *testing.T, m, direct *manager.Manager) (lost int) {
	t.Helper()
	var failed atomic.Int64
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			key := fmt.Sprintf("pooled %d", n)
			var opts []manager.AcquireOption
			if n%10 == 0 {
				opts = append(opts, manager.WithDedicatedSession())
			}
			for range 3 {
				lock, err := m.TryAcquire(bounded(t), key, opts...)
				if err != nil {
					failed.Add(1)
					continue
				}
				other, err := direct.TryAcquire(bounded(t), key)
				if err == nil {
					if lock.Err() == nil {
						t.Errorf("%s is held twice", key)
					}
					release(t, other)
				}
				if err := lock.Release(bounded(t)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	return int(failed.Load())
}
