package server

import (
	"context"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/pgbench"
)

// Kind is a kind of server with the systems that are measured on it.
type Kind struct {
	Name    string
	Systems []peer.System
	Start   func(ctx context.Context) (*Server, error)
	// Env puts the address into what systems find.
	Env func(e *peer.Env, address string)
}

// Server is one that runs.
type Server struct {
	// Version is for people: "PostgreSQL 15.18".
	Version string
	// Socket is what systems connect to where no latency is added, and TCP is host:port, which a proxy can lead to.
	Socket, TCP string
	// DSN makes an address into what goes into peer.Env: nil means that the address does.
	DSN func(address string) string
	// SocketFile is the path of the unix socket, empty where Socket is TCP.
	SocketFile string
	// PID is the server's first process.
	PID int
	// Tidy, where set, ends what clients that were killed have left.
	Tidy func(ctx context.Context) error
	// Switch, where set, measures how costly a switch between processes is.
	Switch func(ctx context.Context) (pgbench.Switch, error)
	Close  func() error
}
