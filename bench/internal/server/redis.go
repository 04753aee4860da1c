package server

import (
	"context"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/redisserver"
)

// Redis is a throwaway Redis, and the systems that run on it. It keeps everything in memory alone.
func Redis(systems []peer.System) Kind {
	return Kind{Name: "Redis", Systems: systems, Start: startRedis,
		Env: func(e *peer.Env, address string) { e.RedisAddr = address }}
}

func startRedis(ctx context.Context) (*Server, error) {
	s, err := redisserver.Start(ctx)
	if err != nil {
		return nil, err
	}
	return &Server{Version: "Redis " + s.Version(), Socket: s.Socket(), SocketFile: s.Socket(), TCP: s.Addr(), PID: s.Pid(),
		Tidy: s.Tidy, Close: s.Close}, nil
}
