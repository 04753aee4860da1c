package pg

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// notURLs are URLs in something that makes key=value pairs of them.
var notURLs = func() (dsns []string) {
	for _, url := range []string{
		"postgres://app:" + secret + "@127.0.0.1/db?sslmode=disable",
		"postgresql://app:" + secret + "@127.0.0.1/db?sslmode=disable&application_name=x",
		"postgres://app:" + secret + "=@127.0.0.1/db",
	} {
		for _, form := range []string{"\"%s\"", "'%s'", "`%s`", " %s", "\t%s", "\n%s", "\ufeff%s", "\"%s", "DATABASE_URL=%s", "export DATABASE_URL=%s",
			"url: %s", "jdbc:%s", "<%s>", "(%s)"} {
			dsns = append(dsns, fmt.Sprintf(form, url))
		}
	}
	return append(dsns, `"host=127.0.0.1 user=app password=`+secret+`"`, `'host=127.0.0.1 user=app password=`+secret+`'`)
}()

// W7. A DSN in quotes, or behind something else, is refused before anything is dialled, and nothing tells the password. PG*
// variables, and the default socket, would let it in.
func TestW7_WhatIsNoURLIsRefused(t *testing.T) {
	d := newDatabase(t)
	t.Setenv("PGHOST", d.SocketDir())
	t.Setenv("PGPORT", fmt.Sprint(d.Port()))
	t.Setenv("PGUSER", "lockkeeper")
	t.Setenv("PGDATABASE", d.name)
	for _, dsn := range notURLs {
		_, err := FromDSN(dsn)
		if _, ok := asType[*ConnectError](err); !ok || Transient(err) {
			t.Errorf("%q: %v", dsn, err)
		}
		keepsTheSecret(t, err)
		if config, err := pgx.ParseConfig(dsn); err == nil {
			_, err = FromConfig(config)
			if err == nil {
				t.Errorf("%q as a config is taken", dsn)
			}
			keepsTheSecret(t, err)
		}
		if config, err := pgxpool.ParseConfig(dsn); err == nil {
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = FromPool(pool)
			if err == nil {
				t.Errorf("%q in a pool is taken", dsn)
			}
			keepsTheSecret(t, err)
			pool.Close()
		}
		if db, err := sql.Open("pgx", dsn); err == nil { // it does not show what it was made of: the server is asked, and quotes it
			p, err := Open(within(t), fromSQL(t, db), quick())
			keepsTheSecret(t, err)
			if err == nil && d.major(t) < 15 { // it takes a name with a dot for an extension's
				closePool(t, p)
			} else if err == nil {
				t.Errorf("%q in a database/sql pool is taken", dsn)
			}
		}
	}
}

// W7. A DSN out of a file has a line break at its end.
func TestW7_ALineBreakAtTheEnd(t *testing.T) {
	d := newDatabase(t)
	for _, end := range []string{"\n", "\r\n", " \n", "\n\n"} {
		works(t, d, sourceOf(t, d.dsn()+end))
	}
	works(t, d, sourceOf(t, fmt.Sprintf("\n host=%s\n port=%d\n user=lockkeeper\n dbname=%s\n sslmode=disable\n", d.SocketDir(), d.Port(), d.name)))
}

// A4. A password file is read at each connect.
func TestA4_APasswordFileThatIsRenewed(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	role := d.name + "_renewed"
	d.exec(t, "CREATE ROLE %s LOGIN PASSWORD 'old'", role)
	t.Cleanup(func() { d.exec(t, "DROP ROLE %s", role) })
	file := filepath.Join(t.TempDir(), "passwords")
	write := func(password string) {
		if err := os.WriteFile(file, []byte("*:*:*:*:"+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	host, port, _ := strings.Cut(d.TCPAddr(), ":")
	p := openDSN(t, fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable passfile=%s", host, port, role, d.name, file), quick())
	d.exec(t, "ALTER ROLE %s PASSWORD 'new'", role)
	c := newCaller(1)
	p.Reserve(&Reservation{Client: c, Use: UseDedicated})
	if got := receive(t, c.reserved); sqlState(got.err) != "28P01" {
		t.Errorf("with the old password: %v", got.err)
	}
	write("new")
	own := c.reserve(t, p, UseDedicated)
	if a := c.on(t, own, OpTry); !a.ok {
		t.Errorf("%+v", a)
	}
	c.release(t, own)
	p.Return(own)
}

// A5. What is pgxpool's in a DSN is pgxpool's.
func TestA5_ParametersOfPgxpool(t *testing.T) {
	d := newDatabase(t)
	more := "&pool_max_conns=10&pool_min_conns=1&pool_min_idle_conns=1&pool_max_conn_lifetime=1h&pool_max_conn_lifetime_jitter=1m" +
		"&pool_max_conn_idle_time=1m&pool_health_check_period=1m&pool_ping_timeout=1s"
	dsn := d.dsn() + more
	if !strings.Contains(dsn, "?") {
		dsn = d.dsn() + strings.ReplaceAll(more, "&", " ")
	}
	works(t, d, sourceOf(t, dsn))
	works(t, d, fromConfig(t, parsed(t, dsn)))
	bare := parsed(t, d.dsn())
	bare.RuntimeParams = nil
	works(t, d, fromConfig(t, bare))
}

// A6. The DSN's connect_timeout counts, unless the option is given.
func TestA6_ConnectTimeoutOfTheDSN(t *testing.T) {
	d := newDatabase(t)
	long := d.tcpDSN() + "&connect_timeout=30"
	for name, c := range map[string]struct {
		source Source
		option time.Duration
		want   time.Duration
	}{
		"the DSN's":             {source: sourceOf(t, long), want: 30 * time.Second},
		"a config's":            {source: fromConfig(t, parsed(t, long)), want: 30 * time.Second},
		"a pool's":              {source: fromPgxpool(t, long, func(*pgxpool.Config) {}), want: 30 * time.Second},
		"the option's":          {source: sourceOf(t, long), option: 20 * time.Second, want: 20 * time.Second},
		"none":                  {source: sourceOf(t, d.tcpDSN()), want: defaultConnectTimeout},
		"none, by a zero in it": {source: sourceOf(t, d.tcpDSN()+"&connect_timeout=0"), want: defaultConnectTimeout},
	} {
		p := openPool(t, c.source, Config{ConnectTimeout: c.option})
		if got := p.config.ConnectTimeout; got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A6. A shorter connect_timeout of the DSN's ends no log-in that the option allows.
func TestA6_TheOptionOutlastsTheDSNs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.dial = func(context.Context, string) error {
			time.Sleep(3 * time.Second) //nolint:forbidigo // in a bubble
			return nil
		}
		p := openPool(t, f.sourceOf(t, "host=127.0.0.1 port=1 user=fake dbname=fake sslmode=disable connect_timeout=1"),
			Config{ConnectTimeout: 20 * time.Second})
		newCaller(1).take(t, p)
	})
}
