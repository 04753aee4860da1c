// Package pgpeer has the lock systems on PostgreSQL, each used as its own documentation says and at its best setting,
// and two limits, which are no lock systems: what the server gives to whoever asks it without any care.
//
// Those that hold a connection per lock have 50 of them, the best size on two processors (more of them are slower), and
// all of those on database/sql run on pgx's driver, which keeps statements prepared and is faster there than lib/pq.
package pgpeer

import "github.com/lockkeeper/lockkeeper/bench/internal/peer"

// Systems are those of this package.
func Systems() []peer.System {
	return []peer.System{Lockkeeper{}, Pgx{}, GoPglock{}, CirelloPglock{}, Goose{}, LimitBatch{}, LimitPgbench{}}
}

// poolSize is the connections of the systems that hold one per lock.
const poolSize = 50
