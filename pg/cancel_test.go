package pg

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// An administrator may cancel any statement of a session, one that asks about its state too. That one is sent once more: what is held stays held.

func TestACancelledQuestionIsAskedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		cancelled string
		ask       func(f *fakeServer, s Session, victim *caller) // has it sent
		want      []string
	}{
		"the health question": {pgfake.Ask, func(*fakeServer, Session, *caller) { wait(defaultInterval) }, []string{pgfake.Ask, pgfake.Ask}},
		"what settles a doubt": {pgfake.Unlock, func(_ *fakeServer, s Session, victim *caller) {
			if a := victim.on(t, s, OpTry); a.ok || sqlState(a.err) != "53200" {
				t.Errorf("%+v", a)
			}
		}, []string{pgfake.Try, pgfake.Unlock, pgfake.Unlock}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{SharedSessions: 1})
				holder, victim := newCaller(1), newCaller(2)
				s := holder.take(t, p)
				var kinds []string
				f.onStatement(func(fs *fakeSession, q *question) {
					if q.Kind == pgfake.Who {
						return
					}
					kinds = append(kinds, q.Kind)
					switch {
					case q.Kind == pgfake.Try:
						f.try(fs, 2)
						q.answered, q.Code = true, "53200"
					case q.Kind == test.cancelled && len(kinds) < len(test.want):
						f.unlock(fs, 2)
						q.answered, q.Code = true, "57014"
					}
				})
				test.ask(f, s, victim)
				synctest.Wait()
				f.onStatement(nil)
				if !slices.Equal(kinds, test.want) {
					t.Errorf("the statements were %q", kinds)
				}
				if err := s.Lost(); err != nil || len(f.held()) != 1 {
					t.Errorf("held at the server: %v; %v", f.held(), err)
				}
				holder.quiet(t)
				holder.release(t, s)
				victim.quiet(t)
			})
		})
	}
}

// TestACancelledEndOfALoanIsSentAgain, with the ROLLBACK that it may not have come to.
func TestACancelledEndOfALoanIsSentAgain(t *testing.T) {
	config, err := (&Config{}).WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	client, server := pgfake.Pipe()
	defer server.Close()
	defer client.Close()
	s := &Solo{session: newSession(&Pool{config: config}, &connection{pid: 7, conn: client}, 1), loanState: loanState{loan: new(Loan), phase: lendReturning}}
	s.self = s
	defer s.timer.Stop()
	s.loan.status.Store('T')
	f := s.newSending(kindBack)
	s.writeBack(f)
	for _, again := range []bool{true, false} {
		if sent := receive(t, s.sent); sent != f {
			t.Fatalf("sent: %+v", sent)
		}
		f.receive(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "57014"})
		if !f.receive(&pgproto3.ReadyForQuery{TxStatus: 'E'}) || f.broken != nil {
			t.Fatal(f.broken)
		}
		if s.lentAnswered(f); (s.loss == nil) != again || again && (f.err != nil || len(s.air) != 1) {
			t.Fatalf("sent again, should be %v: %+v, %v", again, f, s.loss)
		}
	}
	if _, ok := asType[*pgconn.PgError](s.loss.Err); !ok {
		t.Error(s.loss)
	}
}
