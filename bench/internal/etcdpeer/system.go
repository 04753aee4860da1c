package etcdpeer

// Etcd is go.etcd.io/etcd/client/v3/concurrency.
type Etcd struct{}

// Name implements [peer.System].
func (Etcd) Name() string { return "etcd" }
