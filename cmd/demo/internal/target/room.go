package target

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Room is how many more connections a server would give to this role now.
type Room struct {
	Free    int
	Because string // what sets the limit, with its figures
}

// FreeConnections asks the server. The asking connection itself is counted as used.
func FreeConnections(ctx context.Context, conn *pgx.Conn) (Room, error) {
	var all, reserved, used, roleLimit, roleUsed, baseLimit, baseUsed int
	var super bool
	// The settings of reserved connections are read as they may be missing: one of them is new in PostgreSQL 16.
	err := conn.QueryRow(ctx, `
		SELECT pg_catalog.current_setting('max_connections')::int,
		       pg_catalog.current_setting('superuser_reserved_connections')::int
		         + coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0),
		       (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'),
		       r.rolsuper, r.rolconnlimit,
		       (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user AND backend_type = 'client backend'),
		       d.datconnlimit,
		       (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = d.datname AND backend_type = 'client backend')
		  FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
		 WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()`).
		Scan(&all, &reserved, &used, &super, &roleLimit, &roleUsed, &baseLimit, &baseUsed)
	if err != nil {
		return Room{}, fmt.Errorf("asking the server for its connection limits: %w", err)
	}
	room := Room{
		Free:    all - reserved - used,
		Because: fmt.Sprintf("max_connections %d, %d of them reserved and %d in use", all, reserved, used),
	}
	if super {
		return room, nil // neither of the other two limits holds for a superuser
	}
	if free := roleLimit - roleUsed; roleLimit >= 0 && free < room.Free {
		room = Room{Free: free, Because: fmt.Sprintf("the role's limit is %d, %d of them in use", roleLimit, roleUsed)}
	}
	if free := baseLimit - baseUsed; baseLimit >= 0 && free < room.Free {
		room = Room{Free: free, Because: fmt.Sprintf("the database's limit is %d, %d of them in use", baseLimit, baseUsed)}
	}
	return room, nil
}
