package pg

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Where this side gives a session up that the server still has (only one direction of the network is cut, another backend
// answers), it is this side's hanging up that frees the locks. Those who held them have been told by then, and have
// had a moment to act on it.
func TestTheServerKeepsALostLockForAMoment(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(fs *fakeSession, q *question)
		cause  Cause
	}{
		"silence": {func(_ *fakeSession, q *question) { q.never = true }, CauseSilence},
		"another backend": {func(_ *fakeSession, q *question) {
			q.answered = true
			q.Text("4711 f 1700000000500000 1700000001500000 fake")
		}, CauseBackend},
		"doubt": {func(_ *fakeSession, q *question) { q.answered = true; q.Code = "XX000" }, CauseDoubt},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				holder := newCaller(1)
				s := holder.take(t, p)
				f.onStatement(func(fs *fakeSession, q *question) {
					if q.Kind == "ask" && fs.PID == s.PID() {
						c.answer(fs, q)
					}
				})
				holder.lost(t, c.cause)
				staysForAMoment(t, f, p, s)
			})
		})
	}
}

// staysForAMoment wants the server to have lock 1, whose holder was just told of its loss, for the drain delay and no longer than the session.
func staysForAMoment(t *testing.T, f *fakeServer, p *Pool, s Session) {
	t.Helper()
	wait(p.config.drainDelay() - time.Millisecond)
	if f.held()[1] == "" {
		t.Error("the server had freed the lock before its holder could do anything")
	}
	receive(t, ended(s))
	synctest.Wait()
	if f.held()[1] != "" {
		t.Error("the server still has the lock")
	}
}

// So it is where the reader ends by itself, since what the server has said makes no sense.
func TestTheServerKeepsALockWhoseSessionIsMisunderstood(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"nobody asked for it":    {'D', 0, 0, 0, 6, 0, 0},
		"a length that is short": {'D', 0, 0, 0, 3},
		"a length that is long":  {'N', 0, 0xff, 0xff, 0xff, 'x'},
		"a kind that is unknown": {'q', 0, 0, 0, 4},
		"a body that is short":   {'D', 0, 0, 0, 5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				holder := newCaller(1)
				s := holder.take(t, p)
				if _, err := f.of(t, s).conn.Write(bytes); err != nil {
					t.Fatal(err)
				}
				holder.lost(t, CauseDoubt)
				staysForAMoment(t, f, p, s)
			})
		})
	}
}

// So it is where the reader ends by itself after the session was lost for another reason: what is left of a strange answer was not asked for.
func TestTheServerKeepsALockBehindTheRestOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		holder := newCaller(1)
		s := holder.take(t, p)
		f.onStatement(func(fs *fakeSession, q *question) {
			if q.Kind == "ask" && fs.PID == s.PID() {
				q.answered = true
				q.Text("4711 f 1700000000500000 1700000001500000 fake")
			}
		})
		holder.lost(t, CauseBackend)
		if err := f.of(t, s).say(&pgproto3.DataRow{}); err != nil {
			t.Fatal(err)
		}
		staysForAMoment(t, f, p, s)
	})
}
