package pg

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// W17. Roles and databases with encodings of their own, and names that are no ASCII.
func TestW17_Encodings(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	role := d.name + "_latin"
	d.exec(t, "CREATE ROLE %s LOGIN", role)
	d.exec(t, "ALTER ROLE %s SET client_encoding = 'LATIN1'", role)
	t.Cleanup(func() { d.exec(t, "DROP ROLE %s", role) })
	for _, encoding := range []string{"UTF8", "LATIN1", "SQL_ASCII"} {
		name := "büro_" + strings.ToLower(encoding) + "_" + d.name
		d.exec(t, `CREATE DATABASE "%s" ENCODING '%s' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`, name, encoding)
		t.Cleanup(func() { d.exec(t, `DROP DATABASE "%s" WITH (FORCE)`, name) })
		office := watch(t, d.Server, name)
		dsn := fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", d.SocketDir(), d.Port(), role, name)
		config := quick()
		config.ApplicationName = "Bücherei"
		works(t, office, sourceOf(t, dsn))
		works(t, office, fromPgxpool(t, dsn, func(*pgxpool.Config) {}))
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		works(t, office, fromSQL(t, db))
		config.Database = name
		openDSN(t, dsn, config)
		config.Database = "buro"
		if _, err := Open(within(t), sourceOf(t, dsn), config); !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), name) {
			t.Errorf("another database was asked for: %v", err)
		}
	}
}
