package server

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
)

// Room is how many more connections a server would give to this role now.
type Room struct {
	Free    int
	Because string // what sets the limit, with its figures
}

// Room asks the server. The asking connection itself is counted as used. A throwaway server has room for everything.
func (s *Server) Room(ctx context.Context) (room Room, err error) {
	if s.Throwaway {
		return Room{Free: math.MaxInt}, nil
	}
	return room, s.Control(ctx, func(conn *pgx.Conn) error {
		// The settings of reserved connections are read as they may be missing: one of them is new in PostgreSQL 16. A
		// superuser has neither of the other two limits.
		err := conn.QueryRow(ctx, `
			WITH used AS (SELECT usename, datname FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'),
			server AS (
				SELECT pg_catalog.current_setting('max_connections')::int AS most,
				       pg_catalog.current_setting('superuser_reserved_connections')::int
				         + coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) AS reserved,
				       (SELECT count(*) FROM used) AS used
			), lesser AS (
				SELECT 'role' AS what, rolconnlimit AS most, (SELECT count(*) FROM used WHERE usename = current_user) AS used
				  FROM pg_catalog.pg_roles WHERE rolname = current_user
				UNION ALL
				SELECT 'database', datconnlimit, (SELECT count(*) FROM used u WHERE u.datname = d.datname)
				  FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database()
			)
			SELECT most - reserved - used AS free, pg_catalog.format('max_connections %s, %s of them reserved and %s in use', most, reserved, used)
			  FROM server
			UNION ALL
			SELECT most - used, pg_catalog.format('the %s''s limit is %s, %s of them in use', what, most, used)
			  FROM lesser WHERE most >= 0 AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
			 ORDER BY free LIMIT 1`).Scan(&room.Free, &room.Because)
		if err != nil {
			return fmt.Errorf("asking the server for its connection limits: %w", err)
		}
		return nil
	})
}
