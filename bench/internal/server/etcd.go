package server

import (
	"context"

	"github.com/lockkeeper/lockkeeper/bench/internal/etcdserver"
	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Etcd is a throwaway etcd of one member, and the systems that run on it. It listens on TCP alone.
func Etcd(systems []peer.System) Kind {
	return Kind{Name: "etcd", Systems: systems, Start: startEtcd,
		Env: func(e *peer.Env, address string) { e.EtcdAddr = address }}
}

func startEtcd(ctx context.Context) (*Server, error) {
	s, err := etcdserver.Start(ctx)
	if err != nil {
		return nil, err
	}
	return &Server{Version: "etcd " + s.Version(), Socket: s.Addr(), TCP: s.Addr(), PID: s.Pid(), Close: s.Close}, nil
}
