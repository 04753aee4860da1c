package manager

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// A shared lock is a wait if both of its halves are the folded ids of keys that somebody holds; others are left at the server.
func TestSharedLocksAreNoWaits(t *testing.T) {
	s := pgtest.Shared(t)
	ctx := t.Context()
	m, err := Open(ctx, s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	conn, err := pgx.Connect(ctx, s.DSN()+"&application_name=other")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	a, b := m.Key("a").ID(), m.Key("b").ID()
	wait := edge{fold(a), fold(b)}
	for _, sql := range []string{
		fmt.Sprintf("pg_advisory_lock(%d)", a), fmt.Sprintf("pg_advisory_lock_shared(%d)", b), fmt.Sprintf("pg_advisory_lock_shared(%d)", wait.id()),
		fmt.Sprintf("pg_advisory_lock_shared(%d)", edge{fold(a), 42}.id()), fmt.Sprintf("pg_advisory_lock_shared(%d)", edge{42, fold(a)}.id()),
		fmt.Sprintf("pg_advisory_lock(%d)", edge{fold(b), fold(a)}.id()), "pg_advisory_lock_shared(4711)",
	} {
		if _, err := conn.Exec(ctx, "SELECT "+sql); err != nil {
			t.Fatal(err)
		}
	}
	questions := m.pool.Questions()
	defer questions.Close()
	for range 2 { // the second on the same connection
		v, err := look(ctx, questions)
		if err != nil {
			t.Fatal(err)
		}
		pid := conn.PgConn().PID()
		if len(v.marks) != 1 || !v.marks[mark{wait, pid}] || v.applications[pid] != "other" || len(v.keys[fold(a)]) != 1 || v.keys[fold(a)][0] != a {
			t.Errorf("%+v", v)
		}
	}
}
