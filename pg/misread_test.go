package pg

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// misread are DSNs whose password pgx takes for a part of something else, which the server would quote.
var misread = []string{
	"user=app;password=" + secret + ";dbname=db",
	"dbname=db;user=app;Password=" + secret + ";host=127.0.0.1",
	"host=127.0.0.1;user=app;password=" + secret,
	"user=app&password=" + secret + "&dbname=db",
	"application_name=app;pwd=" + secret,
	"user=app\u00a0password=" + secret,
	"user='app password = " + secret + "'",
	"dbname='host=127.0.0.1 password=" + secret + "'",
	"dbname=postgres://app:" + secret + "@127.0.0.1/db",
	"user=postgresql://app:" + secret + "@127.0.0.1/db",
	"host=127.0.0.1,postgres://app:" + secret + "@127.0.0.1/db",
	"postgres://app@127.0.0.1/db&password=" + secret,
	"postgres://app@127.0.0.1/db;password=" + secret,
	"postgres://app;password=" + secret + "@127.0.0.1/db",
	"postgres://app:/" + secret + "@127.0.0.1/db", // a password with a slash: the host's name is app
	"postgres://app:5432/" + secret + "@127.0.0.1/db",
	"postgres://app:5432#" + secret + "@127.0.0.1/db",
	"\ufeffpassword=" + secret, // what stands before the first name makes another of it
	"\u00a0password=" + secret,
	"\u200bpassword=" + secret,
	"“password=" + secret + "”",
	"‘host=127.0.0.1 password=" + secret + "’",
	"«host=127.0.0.1 password=" + secret + "»",
}

// W7. A password that pgx takes for a part of another value is refused before anything is dialled.
func TestW7_APasswordInAnotherValueIsRefused(t *testing.T) {
	for _, dsn := range misread {
		_, err := FromDSN(dsn)
		if _, ok := asType[*ConnectError](err); !ok || Transient(err) || !strings.Contains(err.Error(), "the DSN has a") {
			t.Errorf("%q: %v", dsn, err)
		}
		keepsTheSecret(t, err)
		if _, err = FromConfig(parsed(t, dsn)); err == nil {
			t.Errorf("%q as a config is taken", dsn)
		}
		keepsTheSecret(t, err)
		config, err := pgxpool.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = FromPool(pool); err == nil {
			t.Errorf("%q in a pool is taken", dsn)
		}
		keepsTheSecret(t, err)
		pool.Close()
	}
	for _, dsn := range []string{"options='-c app.password=x' user=app", "dbname=a@b", "dbname=a/b", "user=app@tenant", "dbname=password",
		"application_name=https://app.example/", "password=password=" + secret, "host=/run/a@b"} {
		if _, err := FromDSN(dsn); err != nil {
			t.Errorf("%q: %v", dsn, err)
		}
	}
}

// W7. A database/sql pool does not show its DSN: what the server quotes of it is masked.
func TestW7_APasswordInAnotherValueIsMasked(t *testing.T) {
	d := newDatabase(t)
	t.Setenv("PGHOST", d.SocketDir())
	t.Setenv("PGPORT", fmt.Sprint(d.Port()))
	for _, dsn := range []string{"user=app;password=" + secret + ";dbname=db", "user=lockkeeper dbname='db password=" + secret + "'",
		`user=lockkeeper dbname='db password = \'hunter2 xyzzy\' x'`} {
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(within(t), fromSQL(t, db), quick())
		if sqlState(err) == "" || !strings.Contains(err.Error(), "(hidden)") {
			t.Errorf("%q: %v", dsn, err)
		}
		keepsTheSecret(t, err)
	}
}

// W7. So is a user's name that has the password inside, since the colon between them was percent-encoded.
func TestW7_AUsersNameWithThePasswordIsMasked(t *testing.T) {
	d := newDatabase(t)
	t.Setenv("PGHOST", d.SocketDir())
	t.Setenv("PGPORT", fmt.Sprint(d.Port()))
	dsn := "postgres://app%3A" + secret + "@/db"
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := FromDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]Source{"a DSN": ours, "database/sql": fromSQL(t, db)} {
		_, err := Open(within(t), source, quick())
		if sqlState(err) == "" || !strings.Contains(err.Error(), "(hidden)") {
			t.Errorf("%s: %v", name, err)
		}
		keepsTheSecret(t, err)
	}
}
