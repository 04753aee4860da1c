package etcdpeer

import "github.com/lockkeeper/lockkeeper/bench/internal/peer"

// Systems are those of this package.
func Systems() []peer.System { return []peer.System{Etcd{}} }

// Etcd is go.etcd.io/etcd/client/v3/concurrency.
type Etcd struct{}

// Name implements [peer.System].
func (Etcd) Name() string { return "etcd" }
