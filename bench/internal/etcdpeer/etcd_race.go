//go:build race

package etcdpeer

import (
	"context"
	"errors"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Open is not there under the race detector: etcd's client takes half a minute to compile with it, and is not under test.
func (Etcd) Open(context.Context, peer.Env) (peer.Client, error) {
	return nil, errors.New("etcd's client is not built with the race detector")
}
