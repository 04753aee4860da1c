package migratelock_test

import (
	"context"
	"database/sql"
	"errors"

	"github.com/golang-migrate/migrate/v4"
	pgxdriver "github.com/golang-migrate/migrate/v4/database/pgx/v5"

	migratelock "github.com/lockkeeper/lockkeeper/adapters/migrate"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Each replica migrates when it starts; one does it, and the others wait for it.
func ExampleNew() {
	_ = func(ctx context.Context, m *manager.Manager, db *sql.DB) error {
		inner, err := pgxdriver.WithInstance(db, &pgxdriver.Config{})
		if err != nil {
			return err
		}
		driver := migratelock.New(ctx, inner, m, "migrations")
		up, err := migrate.NewWithDatabaseInstance("file://migrations", "postgres", driver)
		if err != nil {
			return err
		}
		err = up.Up()
		if errors.Is(err, migrate.ErrNoChange) {
			err = nil
		}
		return err
	}
}
