package pg

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// encoded is what messages look like on the wire.
func encoded(f *testing.F, messages ...pgproto3.BackendMessage) (raw []byte) {
	f.Helper()
	for _, m := range messages {
		var err error
		if raw, err = m.Encode(raw); err != nil {
			f.Fatal(err)
		}
	}
	return raw
}

// replies says of each kind of statement which rows are an answer to it, as they stand in a DataRow's body.
var replies = []struct {
	kind    string
	answers map[string]bool // the row, and whether it says yes
}{
	{"try", map[string]bool{"\x00\x01\x00\x00\x00\x01\x01": true, "\x00\x01\x00\x00\x00\x01\x00": false}},
	{"wait", map[string]bool{"\x00\x01\x00\x00\x00\x00": true}},
	{"unlock", map[string]bool{"\x00\x01\x00\x00\x00\x01\x01": true, "\x00\x01\x00\x00\x00\x01\x00": false}},
	// One unlock, which was held, and one try.
	{"batch", map[string]bool{"\x00\x02\x00\x00\x00\x01t\x00\x00\x00\x01t": true, "\x00\x02\x00\x00\x00\x01t\x00\x00\x00\x01f": false,
		"\x00\x02\x00\x00\x00\x01f\x00\x00\x00\x01t": true, "\x00\x02\x00\x00\x00\x01f\x00\x00\x00\x01f": false}},
	{"ask", nil},
}

// Whatever bytes come for an answer to whatever was asked, with the end of the connection after them or silence: each
// request is answered once, within the trust; a lock counts as granted, or as released, only where the bytes say so in the
// one right way; and where they say nothing that can be understood the session is lost, and who holds a lock on it hears.
func FuzzReply(f *testing.F) {
	rowOf := func(body string) []byte {
		return append([]byte{'D', 0, 0, 0, byte(4 + len(body))}, body...)
	}
	end := encoded(f, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	bound := encoded(f, &pgproto3.BindComplete{})
	for i, r := range replies {
		for body := range r.answers {
			whole := append(append(append([]byte(nil), bound...), rowOf(body)...), end...)
			for _, hangUp := range []bool{false, true} {
				f.Add(uint8(i), whole, hangUp)
				f.Add(uint8(i), append(append([]byte(nil), whole...), whole...), hangUp)
				f.Add(uint8(i), whole[:len(whole)-1], hangUp)
			}
		}
		f.Add(uint8(i), []byte(nil), false)
		f.Add(uint8(i), encoded(f, &pgproto3.ErrorResponse{Severity: "ERROR", Code: "57014"}, &pgproto3.ReadyForQuery{TxStatus: 'I'}), false)
		f.Add(uint8(i), encoded(f, &pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01"}), false)
		f.Add(uint8(i), encoded(f, &pgproto3.CopyInResponse{}, &pgproto3.ReadyForQuery{TxStatus: 'I'}), false)
		f.Add(uint8(i), []byte{'D', 0x7f, 0xff, 0xff, 0xff}, false)
		f.Add(uint8(i), []byte{'D', 0, 0, 0, 0}, false)
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte, hangUp bool) {
		if len(raw) < 1<<12 {
			synctest.Test(t, func(t *testing.T) { replyOnce(t, int(which)%len(replies), raw, hangUp) })
		}
	})
}

// replyOnce lets the server answer one statement of a kind with these bytes, and no other after it.
func replyOnce(t *testing.T, which int, raw []byte, hangUp bool) {
	want := replies[which]
	fake := newFake(t)
	p := fakePool(t, fake, Config{SharedSessions: 1})
	neighbour, asked, held := newCaller(50), newCaller(1), newCaller(2)
	s := neighbour.take(t, p)
	held.take(t, p)
	if want.kind == "wait" {
		s = asked.reserve(t, p, UseWaiting)
	}
	replied := false
	fake.onStatement(func(fs *fakeSession, q *question) {
		if fs.PID == s.PID() && (q.Kind == want.kind || replied) {
			if !replied {
				_, _ = fs.conn.Write(raw)
			}
			replied, q.answered, q.hangUp = true, true, hangUp
			q.edit = func([]pgproto3.BackendMessage) []pgproto3.BackendMessage { return nil }
		}
	})
	asks := map[string]func(){
		"try":    func() { asked.submit(s, OpTry) },
		"wait":   func() { asked.submit(s, OpWait) },
		"unlock": func() { held.submit(s, OpUnlock) },
		"ask":    func() {},
		"batch": func() {
			gather(s, func() {
				held.submit(s, OpUnlock)
				asked.submit(s, OpTry)
			})
		},
	}
	asks[want.kind]()
	// The server says nothing more: what it said must have led somewhere when trust is over.
	time.Sleep(2*p.config.Trust() + p.config.WaitSlice) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
	if !replied || s.Lost() == nil {
		t.Errorf("replied %v, lost %v: a session that is not answered any more lives on", replied, s.Lost())
	}
	if want.kind != "wait" {
		if receive(t, neighbour.losses); want.kind == "try" || want.kind == "ask" {
			receive(t, held.losses)
		}
	}
	yes, no := answerIn(raw, want.answers)
	switch want.kind {
	case "try", "wait":
		answeredOnce(t, asked, yes, no)
	case "unlock":
		answeredOnce(t, held, yes, no)
	case "batch":
		answeredOnce(t, asked, yes, no)
		<-held.answers
	}
	fake.onStatement(nil)
	closePool(t, p)
}

// answeredOnce checks that a request has one answer, and the right one.
func answeredOnce(t *testing.T, c *caller, yes, no bool) {
	t.Helper()
	if len(c.answers) != 1 {
		t.Fatalf("%d answers", len(c.answers))
	}
	a := <-c.answers
	switch {
	case a.ok && !yes:
		t.Errorf("taken for a yes: %+v", a)
	case !a.ok && a.err == nil && !no:
		t.Errorf("taken for a no: %+v", a)
	}
}

// answerIn reads an answer by itself, and strictly: exactly these messages, apart from notices.
func answerIn(raw []byte, rows map[string]bool) (yes, no bool) {
	kinds, bodies := messagesOf(raw)
	var seen string
	for i, k := range kinds {
		switch k {
		case 'N', 'S', 'A':
			continue
		case 'D':
			answer, known := rows[string(bodies[i])]
			if !known {
				return false, false
			}
			yes, no = answer, !answer
		case 'Z':
			right := string(bodies[i]) == "I" && strings.Count(seen, "D") == 1 && strings.Contains(seen, "C") && strings.Trim(seen, "2DCI") == ""
			return yes && right, no && right
		case 'E':
			return false, false
		}
		seen += string(k)
	}
	return false, false
}

// Whatever bytes a server says when it is first spoken to: Open returns, soon, and opens nothing.
func FuzzWelcome(f *testing.F) {
	welcome := encoded(f, &pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "16"},
		&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: make([]byte, 4)}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	for i := range welcome {
		f.Add(welcome[:i], true)
	}
	f.Add(welcome, false)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), true)
	f.Add(encoded(f, &pgproto3.AuthenticationCleartextPassword{}), false)
	f.Add(encoded(f, &pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}}), false)
	f.Add(encoded(f, &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}), false)
	f.Add(encoded(f, &pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "no, " + secret}), false)
	f.Fuzz(func(t *testing.T, raw []byte, hangUp bool) {
		if len(raw) > 1<<12 || tooLong(raw) { // pgx's own part: it believes a length
			return
		}
		synctest.Test(t, func(t *testing.T) {
			fake := newFake(t)
			source := fake.rawSource(t, raw, hangUp)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			start := time.Now()
			p, err := Open(ctx, source, Config{ConnectTimeout: time.Second, CloseTimeout: time.Second})
			if err == nil {
				closePool(t, p)
				t.Fatal("opened, on a server that said nothing sensible")
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("Open took %v", took)
			}
			for _, part := range secretParts { // a server may say what it likes
				if bytes.Contains(raw, []byte(part)) {
					return
				}
			}
			keepsTheSecret(t, err)
		})
	})
}

// Wherever a password stands in a DSN, well or badly written, no error shows it.
func FuzzDSNWithSecret(f *testing.F) {
	for _, around := range [][2]string{{"postgres://u:", "@h/db"}, {"postgres://u:", "@@h:x/db"}, {"password=", " host=h port=x"},
		{"host=h password='", ""}, {"postgres://h/db?password=", "&sslmode=no"}, {"", ""}, {"postgres://", ":5/"}, {"host=", " port=1"},
		{"dbname=", ""}, {"user = u password = ", " x"}, {"postgres://u:%", "@h/"}, {"passfile=/", ""}, {"host=h,", " port=1,2,3"}} {
		f.Add(around[0], around[1])
	}
	const marker = "Zq7unseen7qZ"
	f.Fuzz(func(t *testing.T, before, after string) {
		dsn := before + marker + after
		if strings.Contains(dsn, "service") || strings.Contains(dsn, "file") || strings.Contains(dsn, "ssl") || strings.Contains(dsn, "cert") {
			return // they read files: whatever is in those is no part of this
		}
		source, err := FromDSN(dsn)
		if err == nil {
			_, err = undialled(t, source).Connect(t.Context())
		} else if _, ok := asType[*ConnectError](err); !ok {
			t.Errorf("%T %v is no ConnectError", err, err)
		}
		for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v %#v %q %s", err, err, err, err), fmt.Sprintf("%v %+v", source, source)} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(marker)) {
				t.Errorf("%q: the error shows what may be a password: %s", dsn, text)
			}
		}
	})
}

// A length of gigabytes is not believed: no room is made for it, and the session is given up at once.
func TestALengthThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := fakePool(t, f, Config{SharedSessions: 1})
		holder := newCaller(1)
		s := holder.take(t, p)
		start := time.Now()
		if _, err := f.of(t, s).conn.Write([]byte{'N', 0x00, 0xff, 0xff, 0xff, 'x'}); err != nil {
			t.Fatal(err)
		}
		holder.lost(t, CauseDoubt)
		if took := time.Since(start); took != 0 {
			t.Errorf("the session waited for the rest for %v", took)
		}
	})
}
