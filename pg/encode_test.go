package pg

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// What is written to the server, and what is made of its answers.

func TestArraysAreEncodedAsPgxDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	types := pgtype.NewMap()
	for n := range 600 {
		entries := make([]entry, n)
		ids := make([]int64, n)
		for i := range ids {
			ids[i] = int64(random.Uint64()) >> random.IntN(64)
			entries[i].id = ids[i]
		}
		if n > 2 {
			entries[0].id, entries[1].id = math.MinInt64, math.MaxInt64
			ids[0], ids[1] = math.MinInt64, math.MaxInt64
		}
		want, err := types.Encode(pgtype.Int8ArrayOID, pgtype.BinaryFormatCode, ids, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := appendIDs(nil, entries)
		if n > 0 && !bytes.Equal(got, want) { // pgx gives an empty array a dimension, PostgreSQL itself does not
			t.Fatalf("%d ids: % x, pgx has % x", n, got, want)
		}
		var back []int64
		if err := types.Scan(pgtype.Int8ArrayOID, pgtype.BinaryFormatCode, got, &back); err != nil || !slices.Equal(back, ids) {
			t.Fatalf("%d ids: pgx reads %v: %v", n, back, err)
		}
	}
}

func TestTextArraysAreReadAsTheyWereMeant(t *testing.T) {
	types := pgtype.NewMap()
	random := rand.New(rand.NewPCG(5, 6))
	const letters = `ab{},"\ '` + "\n\t\x01é"
	for n := range 50 {
		settings := make([]setting, n)
		var want []string
		for i := range settings {
			var text []rune
			for range random.IntN(8) {
				all := []rune(letters)
				text = append(text, all[random.IntN(len(all))])
			}
			settings[i].value = string(text)
			want = append(want, string(text))
		}
		raw := values(settings)
		if n == 0 {
			continue // there is always one
		}
		var got []string
		if err := types.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, raw, &got); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s was read as %q", raw, got)
		}
	}
}

func TestRepeatedIDsAreFound(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		n := 1 + random.IntN(maxBatch)
		entries := make([]entry, n)
		seen := make(map[int64]bool)
		twice := false
		for i := range entries {
			id := int64(random.Uint64() >> 44) // with collisions of ids and of their hashes
			twice = twice || seen[id]
			seen[id] = true
			entries[i].id = id
		}
		if id, found := (&sending{entries: entries}).repeatedTry(); found != twice || found && !seen[id] {
			t.Fatalf("%d ids: %v %v, expected %v", n, id, found, twice)
		}
	}
}

// answerTo is an answer's messages as a healthy server sends them.
func answerTo(status byte, rows ...[][]byte) []pgproto3.BackendMessage {
	messages := []pgproto3.BackendMessage{&pgproto3.BindComplete{}}
	for _, row := range rows {
		messages = append(messages, &pgproto3.DataRow{Values: row})
	}
	return append(messages, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: status})
}

func row(values ...string) [][]byte {
	out := make([][]byte, len(values))
	for i, v := range values {
		if v != "NULL" {
			out[i] = []byte(v)
		}
	}
	return out
}

// A server that answers in another form than it was asked for keeps no lock that we know of: nothing is granted, and
// the session is given up.
func TestAnswersOfAnotherForm(t *testing.T) {
	without := func(messages []pgproto3.BackendMessage, i int) []pgproto3.BackendMessage {
		return slices.Delete(slices.Clone(messages), i, i+1)
	}
	good := answerTo('I', row("\x01"))
	single := map[string][]pgproto3.BackendMessage{
		"no row":                 answerTo('I'),
		"two rows":               answerTo('I', row("\x01"), row("\x01")),
		"no column":              answerTo('I', row()),
		"two columns":            answerTo('I', row("\x01", "\x01")),
		"null":                   answerTo('I', row("NULL")),
		"empty":                  answerTo('I', row("")),
		"text":                   answerTo('I', row("t")),
		"two bytes":              answerTo('I', row("\x01\x01")),
		"neither true nor false": answerTo('I', row("\xff")),
		"three":                  answerTo('I', row("\x03")),
		"in a transaction":       answerTo('T', row("\x01")),
		"in a failed one":        answerTo('E', row("\x01")),
		"no completion":          without(good, 2),
		"no end of the command":  without(without(good, 2), 1),
		"nothing at all":         {&pgproto3.ReadyForQuery{TxStatus: 'I'}},
		"a copy":                 {&pgproto3.BindComplete{}, &pgproto3.CopyInResponse{}, &pgproto3.ReadyForQuery{TxStatus: 'I'}},
		"a password question":    {&pgproto3.AuthenticationCleartextPassword{}, good[1], good[2], good[3]},
		"cut short": {&pgproto3.BindComplete{}, &pgproto3.DataRow{Values: row("\x01")}, &pgproto3.PortalSuspended{},
			&pgproto3.ReadyForQuery{TxStatus: 'I'}},
		"a last word first":  {&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01"}, good[0], good[1], good[2], good[3]},
		"an answer too many": append(slices.Clone(good), good...),
	}
	wait := maps.Clone(single)
	wait["text"] = answerTo('I', row("true"))
	wait["a boolean"] = answerTo('I', row("\x01"))
	wait["another letter"] = answerTo('I', row("y"))
	wait["upper case"] = answerTo('I', row("T"))
	batch := map[string][]pgproto3.BackendMessage{
		"no row":               answerTo('I'),
		"one column":           answerTo('I', row("tttt")),
		"three columns":        answerTo('I', row("tt", "t", "t")),
		"too few":              answerTo('I', row("tt", "t")),
		"too many":             answerTo('I', row("tt", "ttt")),
		"shifted to the left":  answerTo('I', row("ttt", "t")),
		"shifted to the right": answerTo('I', row("t", "ttt")),
		"all in one":           answerTo('I', row("NULL", "tttt")),
		"nulls":                answerTo('I', row("NULL", "NULL")),
		"other letters":        answerTo('I', row("tt", "ty")),
		"upper case":           answerTo('I', row("TT", "TT")),
		"two rows":             answerTo('I', row("tt", "NULL"), row("NULL", "tt")),
		"no completion":        without(answerTo('I', row("tt", "tt")), 2),
	}
	for name, messages := range single {
		t.Run("try/"+name, func(t *testing.T) { answerWrongly(t, OpTry, messages, name == "an answer too many") })
	}
	for name, messages := range wait {
		t.Run("wait/"+name, func(t *testing.T) { answerWrongly(t, OpWait, messages, name == "an answer too many") })
	}
	for name, messages := range batch {
		t.Run("batch/"+name, func(t *testing.T) { answerWrongly(t, OpUnlock, messages, false) })
	}
}

// answerWrongly lets a server answer so. For OpUnlock it is a batch of two unlocks and two tries that is answered.
func answerWrongly(t *testing.T, op Op, messages []pgproto3.BackendMessage, mayGrant bool) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := fakePool(t, f, Config{SharedSessions: 1})
		neighbours := newCallers(span(50, 5))
		var s Session
		for _, c := range neighbours {
			s = c.take(t, p)
		}
		asked := newCallers([]int64{1})
		if op == OpUnlock {
			asked = newCallers([]int64{1, 2, 3, 4})
			for _, c := range asked[:2] {
				c.take(t, p)
			}
		}
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "try" || q.Kind == "wait" || q.Kind == "batch" && len(q.Locks()) == 2 {
				q.answered = true
				q.edit = func([]pgproto3.BackendMessage) []pgproto3.BackendMessage { return messages }
			}
		})
		if op == OpUnlock {
			gather(s, func() {
				for i, c := range asked {
					c.submit(s, map[bool]Op{true: OpUnlock, false: OpTry}[i < 2])
				}
			})
		} else {
			if op == OpWait {
				s = asked[0].reserve(t, p, UseWaiting)
			}
			asked[0].submit(s, op)
		}
		for _, c := range asked {
			a := c.await(t)
			if a.ok && !mayGrant {
				t.Errorf("lock %d: %+v", c.r.ID, a)
			}
			if !a.ok && a.err == nil {
				t.Errorf("lock %d: refused, as if the server had said so", c.r.ID)
			}
		}
		receive(t, ended(s))
		for _, c := range neighbours {
			if op == OpWait { // they are on another session
				c.release(t, p.first())
				continue
			}
			l := receive(t, c.losses)
			if cause := causeOf(t, l.err); cause != CauseDoubt && cause != CauseConnection && cause != CauseServer && cause != CauseSilence &&
				cause != CauseRecovery {
				t.Errorf("%v", l.err)
			}
			c.quiet(t)
		}
		for _, c := range asked {
			for len(c.losses) > 0 {
				<-c.losses
			}
			c.quiet(t)
		}
		synctest.Wait()
		if held := f.held(); len(held) != 0 {
			t.Errorf("held: %v", held)
		}
	})
}

// Whatever bytes come for an answer: a lock counts as granted only where the bytes say so in the one right way.
func FuzzAnswer(f *testing.F) {
	encode := func(messages ...pgproto3.BackendMessage) []byte {
		var raw []byte
		for _, m := range messages {
			var err error
			if raw, err = m.Encode(raw); err != nil {
				f.Fatal(err)
			}
		}
		return raw
	}
	yes := encode(answerTo('I', row("\x01"))...)
	f.Add(yes)
	f.Add(encode(answerTo('I', row("\x00"))...))
	f.Add(encode(answerTo('T', row("\x01"))...))
	f.Add(encode(answerTo('I', row("t"))...))
	f.Add(encode(answerTo('I', row("\x01"), row("\x01"))...))
	f.Add(encode(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "57014"}, &pgproto3.ReadyForQuery{TxStatus: 'I'}))
	f.Add(encode(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01"}))
	f.Add(append(encode(&pgproto3.NoticeResponse{Severity: "WARNING"}, &pgproto3.ParameterStatus{Name: "a", Value: "b"}), yes...))
	for i := range yes {
		f.Add(yes[:i])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<12 || tooLong(raw) {
			return // a length is believed, and room made for that much
		}
		fake := newFake(t)
		p := fakePool(t, fake, Config{SharedSessions: 1})
		neighbour, asked := newCaller(50), newCaller(1)
		s := neighbour.take(t, p)
		fake.onStatement(func(fs *fakeSession, q *question) {
			if q.Kind == "try" {
				_, _ = fs.conn.Write(raw)
			}
			q.answered, q.hangUp = true, true
			q.edit = func([]pgproto3.BackendMessage) []pgproto3.BackendMessage { return nil }
		})
		a := asked.on(t, s, OpTry)
		if a.ok && !saysYes(raw) {
			t.Errorf("% x was taken for a grant", raw)
		}
		if receive(t, neighbour.losses); a.ok {
			receive(t, asked.losses)
		}
		receive(t, ended(s))
		neighbour.quiet(t)
		asked.quiet(t)
		closePool(t, p)
	})
}

// messages cuts bytes into messages, as far as that goes.
func messagesOf(raw []byte) (kinds string, bodies [][]byte) {
	for len(raw) >= 5 {
		n := int(uint32(raw[1])<<24 | uint32(raw[2])<<16 | uint32(raw[3])<<8 | uint32(raw[4]))
		if n < 4 || n+1 > len(raw) {
			break
		}
		if kind := rune(raw[0]); kind < 0x80 { // one byte of kinds for each body
			kinds += string(kind)
		} else {
			kinds += "?"
		}
		bodies = append(bodies, raw[5:n+1])
		raw = raw[n+1:]
	}
	return kinds, bodies
}

func tooLong(raw []byte) bool {
	_, bodies := messagesOf(raw)
	for _, b := range bodies {
		raw = raw[5+len(b):]
	}
	return len(raw) >= 5 && (raw[1] != 0 || raw[2] != 0)
}

// saysYes reads an answer by itself, and strictly: exactly these messages, apart from notices.
func saysYes(raw []byte) bool {
	kinds, bodies := messagesOf(raw)
	var seen string
	for i, k := range kinds {
		switch k {
		case 'N', 'S', 'A':
			continue
		case 'D':
			if !bytes.Equal(bodies[i], []byte{0, 1, 0, 0, 0, 1, 1}) {
				return false
			}
		case 'Z':
			return string(bodies[i]) == "I" && strings.Count(seen, "D") == 1 && strings.Contains(seen, "C") &&
				strings.Trim(seen, "2DCI") == ""
		case 'E':
			return false
		}
		seen += string(k)
	}
	return false
}
