// Package systems has what is compared, each system used as its own documentation says and at its best setting, with the
// servers that they run on. Two of the systems are limits, which are no lock systems: they show what the server gives to a
// client that takes no care.
//
// The systems that hold a connection for each lock have 50 of them, the best size on two processors: more are slower. Those on
// database/sql run on pgx's driver, which keeps statements prepared and is faster there than lib/pq.
package systems

import (
	"context"
	"hash/fnv"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// hintsScenarios are those in which several processes want a key, and the two that show what it costs where none does.
var hintsScenarios = []string{"lone", "distinct-1000", "one-key-4x50", "wake", "wake-10k"}

// poolSize is the connections of the systems that hold one for each lock.
const poolSize = 50

// All returns all systems in the order of reports. openEtcd opens etcd's client: only the main package links it.
func All(openEtcd func(ctx context.Context, e harness.Env) (harness.Client, error)) []harness.System {
	postgres := &harness.Server{Name: "PostgreSQL", Start: startPostgres}
	redis := &harness.Server{Name: "Redis", Start: startRedis}
	etcd := &harness.Server{Name: "etcd", Start: startEtcd}
	all := []harness.System{
		{Name: "lockkeeper", Server: postgres, Open: openLockkeeper, OpenOne: openOneLockkeeper, Loss: lockkeeperLoss},
		{Name: "pgx", Server: postgres, Open: openPgx},
		{Name: "go-pglock", Server: postgres, Open: openGoPglock},
		{Name: "cirello-pglock", Server: postgres, Open: openCirello},
		{Name: "goose", Server: postgres, Open: openGoose},
		{Name: "limit-batch", Server: postgres, Limit: limitBatch},
		{Name: "limit-pgbench", Server: postgres, Limit: limitPgbench},
		{Name: "rueidislock", Server: redis, Open: openRueidislock},
		{Name: "redislock", Server: redis, Open: openRedislock},
		{Name: "redsync", Server: redis, Open: openRedsync},
		{Name: "etcd", Server: etcd, Open: openEtcd},
	}
	if openHints != nil {
		all = slices.Insert(all, 1, harness.System{Name: "lockkeeper-hints", Server: postgres, Open: openHints, Scenarios: hintsScenarios})
	}
	return append(all, poolers()...)
}

// connect opens as many connections of a pool as the load will use, before it begins: no scenario is about connecting.
func connect(e harness.Env, take func() (giveBack func(), err error)) error {
	back := make([]func(), min(poolSize, e.Goroutines))
	var taking errgroup.Group
	for i := range back {
		taking.Go(func() (err error) {
			back[i], err = take()
			return err
		})
	}
	err := taking.Wait()
	for _, giveBack := range back {
		if giveBack != nil {
			giveBack()
		}
	}
	return err
}

// lockID is the number of a key, by the hash that Go programs have at hand.
func lockID(key string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // it never fails
	return int64(h.Sum64())
}
