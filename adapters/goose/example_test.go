package gooselock_test

import (
	"context"
	"database/sql"
	"io/fs"
	"log"
	"time"

	"github.com/pressly/goose/v3"

	gooselock "github.com/lockkeeper/lockkeeper/adapters/goose"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Each replica migrates when it starts; one does it, and the others wait for it.
func ExampleNew() {
	_ = func(ctx context.Context, m *manager.Manager, db *sql.DB, migrations fs.FS) error {
		locker := gooselock.New(m, "migrations", manager.WithWaitTimeout(5*time.Minute))
		p, err := goose.NewProvider(goose.DialectPostgres, db, migrations, goose.WithLocker(locker))
		if err != nil {
			return err
		}
		applied, err := p.Up(ctx)
		log.Printf("%d migrations were applied", len(applied))
		return err
	}
}
