package run

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/target"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

const (
	// sharedSessions and waitingSessions are the library's own defaults. No more wait than there are keys.
	sharedSessions  = 4
	waitingSessions = 16
	// leastSessions: one holds and one waits.
	leastSessions = 2
	// oracleConnections of a process suffice for many holders: each uses one for two short statements.
	oracleConnections = 4
)

// roomyLimits are the connections of one process where the server has plenty.
func (p Plan) roomyLimits() wire.Limits {
	l := wire.Limits{Sessions: p.Sessions, Oracle: min(oracleConnections, p.Workers)}
	if l.Sessions == 0 {
		l.Sessions = sharedSessions + min(waitingSessions, p.Keys)
	}
	if p.NoLocks {
		l.Sessions = 0
	}
	return l
}

// limits fits the connections to what the server gives, before a process finds out in the middle of the load.
func (p Plan) limits(ctx context.Context, server *target.Target) (wire.Limits, error) {
	want := p.roomyLimits()
	if server.Throwaway {
		return want, nil
	}
	conn, err := server.Connect(ctx, "lockkeeper-demo-control")
	if err != nil {
		return want, err
	}
	defer server.Disconnect(conn)
	return p.fit(ctx, conn, want)
}

func (p Plan) fit(ctx context.Context, conn *pgx.Conn, want wire.Limits) (wire.Limits, error) {
	room, err := target.FreeConnections(ctx, conn)
	if err != nil {
		return want, err
	}
	return p.fitInto(room, want)
}

// fitInto takes sessions away from the processes where the user left their number open, and refuses where even the
// least is too much. The connection that asked counts as used and is the control connection.
func (p Plan) fitInto(room target.Room, want wire.Limits) (wire.Limits, error) {
	each := room.Free / p.Processes
	if want.Total() <= each {
		return want, nil
	}
	least := want
	if p.Sessions == 0 && !p.NoLocks {
		least.Sessions, least.Oracle = leastSessions, 1
	}
	if least.Total() > each {
		return want, fmt.Errorf("the server has too few connections: %d are free (%s), and %d processes need %d each, %d in all; "+
			"use fewer --processes or --sessions, or raise the limit on the server",
			max(0, room.Free), room.Because, p.Processes, least.Total(), p.Processes*least.Total())
	}
	fitted := wire.Limits{Oracle: min(want.Oracle, max(1, each/4))}
	fitted.Sessions = each - fitted.Oracle
	return fitted, nil
}
