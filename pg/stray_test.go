package pg

import (
	"encoding/binary"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// A proxy may send any of our statements to a standby. It touches no lock there, and its answer is none.
func TestStatementsDoNothingOnAStandby(t *testing.T) {
	primary := newServer(t, nil)
	standby := watch(t, pgtest.Standby(t, primary.Server), primary.name)
	conn, err := pgconn.Connect(within(t), standby.dsn())
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(conn)
	id := binary.BigEndian.AppendUint64(nil, 7)
	ids := appendIDs(nil, []entry{{id: 7}})
	mode := appendModes(nil, []entry{{shared: true}})
	for _, c := range []struct {
		statement statement
		params    [][]byte
		want      [][]byte
	}{
		{tryStatement, [][]byte{id}, [][]byte{nil}},
		{unlockStatement, [][]byte{id}, [][]byte{nil}},
		{batchStatement, [][]byte{ids, ids}, [][]byte{{standbyLetter}, {standbyLetter}}},
		{modesStatement, [][]byte{ids, mode, ids, mode}, [][]byte{{standbyLetter}, {standbyLetter}}},
	} {
		got := conn.ExecParams(within(t), c.statement.sql, c.params, c.statement.params, []int16{1}, []int16{1}).Read()
		if got.Err != nil || len(got.Rows) != 1 || fmt.Sprint(got.Rows[0]) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v %v", c.statement.name, got.Rows, got.Err)
		}
	}
	for _, shared := range []bool{false, true} {
		results, err := conn.Exec(within(t), waitText(plainWaitSQL, 7, shared)).ReadAll()
		if err != nil || results[0].Rows[0][0] != nil {
			t.Errorf("%v %v", results, err)
		}
	}
	if locks := standby.locks(t); len(locks) > 0 {
		t.Errorf("taken at the standby: %v", locks)
	}
	who := conn.ExecParams(within(t), whoStatement.sql, [][]byte{ids}, []uint32{pgtype.Int8ArrayOID}, []int16{1}, nil).Read()
	if who.Err != nil || len(who.Rows) > 0 {
		t.Errorf("%v %v", who.Rows, who.Err)
	}
}

// The answer of a standby ends the session: what it is asked for fails, and who has locks on it hears why.
func TestAStandbysAnswerEndsTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		op     Op
		ids    []int64
		answer []pgproto3.BackendMessage
	}{
		"a try":     {OpTry, []int64{1}, answerTo('I', row("NULL"))},
		"an unlock": {OpUnlock, []int64{50}, answerTo('I', row("NULL"))},
		"a batch":   {OpTry, []int64{1, 2}, answerTo('I', row("NULL", "ss"))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := fakePool(t, f, Config{SharedSessions: 1})
				holder, leaver := newCallers([]int64{40})[0], newCallers([]int64{50})[0]
				s := holder.take(t, p)
				leaver.take(t, p)
				f.onStatement(func(_ *fakeSession, q *question) {
					if q.Kind == "try" || q.Kind == "unlock" || q.Kind == "batch" {
						q.answered = true
						q.edit = func([]pgproto3.BackendMessage) []pgproto3.BackendMessage { return c.answer }
					}
				})
				asked := []*caller{leaver}
				if c.op == OpTry {
					asked = newCallers(c.ids)
				}
				gather(s, func() {
					for _, a := range asked {
						a.submit(s, c.op)
					}
				})
				for _, a := range asked {
					if answer := a.await(t); answer.ok || answer.err == nil {
						t.Errorf("%d: %+v", a.r.ID, answer)
					}
				}
				if l := receive(t, holder.losses); causeOf(t, l.err) != CauseRecovery {
					t.Errorf("%v", l.err)
				}
				receive(t, ended(s))
				closePool(t, p)
			})
		})
	}
}
