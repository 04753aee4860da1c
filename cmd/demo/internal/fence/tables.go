//go:build unix

package fence

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/manager"
)

// tables are what a run makes in the database, and removes.
type tables struct {
	made     bool // the counter's table is there
	migrated bool // the tables for tokens were not there before
}

func (t *tables) create(ctx context.Context, conn *pgx.Conn, name string) error {
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'lockkeeper')").Scan(&there); err != nil {
		return err
	}
	if err := manager.Migrate(ctx, conn); err != nil {
		return err
	}
	t.migrated = !there
	_, err := conn.Exec(ctx, fmt.Sprintf(`CREATE TABLE %[1]s (value bigint NOT NULL, token bigint NOT NULL);
		COMMENT ON TABLE %[1]s IS 'made by the demo of Lockkeeper; safe to drop when none is running';
		INSERT INTO %[1]s VALUES (0, 0)`, name))
	t.made = err == nil
	return server.Explain("creating the demo's table", err, map[string]string{
		"42501": "the role may not create a table in the schema; grant it CREATE there, or use another role",
		"25006": "the server is read-only (a standby?); locks and the demo need the primary",
	})
}

// drop removes all. The tables for tokens stay where they were before, and where others have drawn tokens meanwhile.
func (t *tables) drop(ctx context.Context, conn *pgx.Conn, name string, id int64) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if t.made {
			if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+name); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "DELETE FROM lockkeeper.fence WHERE id = $1", id); err != nil { // a key of this run's alone
				return err
			}
		}
		if !t.migrated {
			return nil
		}
		if _, err := tx.Exec(ctx, "LOCK TABLE lockkeeper.fence"); err != nil {
			return err
		}
		var used bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM lockkeeper.fence)").Scan(&used); err != nil || used {
			return err
		}
		_, err := tx.Exec(ctx, "DROP SCHEMA lockkeeper CASCADE")
		return err
	})
	if err != nil {
		return fmt.Errorf("removing the demo's tables: %w", err)
	}
	return nil
}
