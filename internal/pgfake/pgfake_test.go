package pgfake

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// table is locks that one session has.
type table map[Lock]bool

func (t table) Try(l Lock) bool {
	had := t[l]
	t[l] = true
	return !had
}

func (t table) Unlock(l Lock) bool {
	had := t[l]
	delete(t, l)
	return had
}

func (t table) TryXact(id int64) bool { return t.Try(Lock{ID: id}) }
func (t table) EndXact()              { clear(t) }
func (t table) Notify(string)         {}
func (t table) Listen()               {}

// said is an answer in short.
func said(messages []pgproto3.BackendMessage) string {
	var parts []string
	for _, m := range messages {
		text := strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3.")
		switch m := m.(type) {
		case *pgproto3.DataRow:
			text = fmt.Sprintf("%q", m.Values)
		case *pgproto3.ErrorResponse:
			text = m.Severity + " " + m.Code
		case *pgproto3.RowDescription:
			text = fmt.Sprintf("%d columns", len(m.Fields))
		case *pgproto3.ReadyForQuery:
			text = string(m.TxStatus)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// ask sends messages, of which the last completes the request, and does the statements until one fails.
func ask(t *testing.T, s *Session, locks Locks, messages ...pgproto3.FrontendMessage) string {
	t.Helper()
	for i, m := range messages {
		r := s.Receive(m)
		if (r != nil) != (i == len(messages)-1) {
			t.Fatalf("message %d of %d: the request is complete: %v", i+1, len(messages), r != nil)
		}
		if r == nil {
			continue
		}
		for _, q := range r.Statements {
			if !s.Do(q, Facts{Version: "1", Recovery: "f", Start: "2", Database: "db"}, locks) {
				q.Code = "0A000"
				break
			}
		}
		return said(append(r.Answer(), s.Ready()))
	}
	return ""
}

func bind(name string, params ...string) *pgproto3.Bind {
	b := &pgproto3.Bind{PreparedStatement: name}
	for _, p := range params {
		b.Parameters = append(b.Parameters, []byte(p))
	}
	return b
}

func TestARequestIsAnsweredMessageByMessage(t *testing.T) {
	locks := table{{7, false}: true}
	s := &Session{PID: 4711}
	parse := func(name, sql string) *pgproto3.Parse { return &pgproto3.Parse{Name: name, Query: sql} }
	run, portal, sync := &pgproto3.Execute{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Sync{}
	for _, c := range []struct {
		name     string
		messages []pgproto3.FrontendMessage
		want     string
	}{
		{"a preparation", []pgproto3.FrontendMessage{parse("try", "SELECT pg_catalog.pg_try_advisory_lock($1)"), &pgproto3.Describe{ObjectType: 'S'}, sync},
			"ParseComplete, ParameterDescription, NoData, I"},
		{"a statement", []pgproto3.FrontendMessage{bind("try", "8"), run, sync}, `BindComplete, ["t"], CommandComplete, I`},
		{"a lock that is taken", []pgproto3.FrontendMessage{bind("try", "7"), portal, run, sync}, `BindComplete, 1 columns, ["f"], CommandComplete, I`},
		{"two statements", []pgproto3.FrontendMessage{parse("", "BEGIN"), bind(""), run, parse("", "SELECT pg_catalog.pg_backend_pid()"), bind(""), portal, run, sync},
			`ParseComplete, BindComplete, CommandComplete, ParseComplete, BindComplete, 1 columns, ["4711"], CommandComplete, T`},
		{"nothing follows an error", []pgproto3.FrontendMessage{parse("", "SELECT nonsense"), bind(""), run, bind("try", "9"), run, sync},
			"ParseComplete, BindComplete, ERROR 0A000, T"},
		{"text", []pgproto3.FrontendMessage{&pgproto3.Query{String: "ROLLBACK"}}, "1 columns, CommandComplete, I"},
	} {
		if got := ask(t, s, locks, c.messages...); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
	if len(locks) != 0 {
		t.Errorf("after the transaction there are the locks %v", locks)
	}
}

func TestSettings(t *testing.T) {
	const set, readBack = "SELECT set_config(v.name, v.value, false)", "SELECT current_setting(v.name, true)\n FROM v"
	names, values := `{"a","b"}`, `{"1","2"}`
	for fixed, want := range map[bool]string{false: `["a" "1"], ["b" "2"]`, true: `["b" "2"]`} {
		s := &Session{Fixed: fixed}
		if fixed {
			s.Settings = map[string]string{"b": "0"}
		}
		for sql, params := range map[string][]string{set: {names, values}} {
			s.Receive(&pgproto3.Parse{Name: "set", Query: sql})
			if got := ask(t, s, table{}, bind("set", params...), &pgproto3.Execute{}, &pgproto3.Sync{}); !strings.Contains(got, "BindComplete, "+want+", Command") {
				t.Errorf("fixed %v: set answers %s, want %s", fixed, got, want)
			}
		}
		s.Receive(&pgproto3.Parse{Name: "read", Query: readBack})
		if got := ask(t, s, table{}, bind("read", names), &pgproto3.Execute{}, &pgproto3.Sync{}); !strings.Contains(got, "BindComplete, "+want+", Command") {
			t.Errorf("fixed %v: read back answers %s, want %s", fixed, got, want)
		}
	}
}

func TestAWaitHasItsIDInItsTextAndItsAnswerInALetter(t *testing.T) {
	s := &Session{}
	q := s.Receive(&pgproto3.Query{String: "DO $lockkeeper$ id CONSTANT pg_catalog.int8 := '-12'::pg_catalog.int8;"}).Last()
	if q.Kind != Wait || !slices.Equal(q.Locks(), []Lock{{-12, false}}) || q.Unlocks() != nil {
		t.Fatalf("%+v", q)
	}
	for _, sql := range []string{"DO $lockkeeper$ id CONSTANT pg_catalog.int8 := '-12'::pg_catalog.int8; PERFORM pg_catalog.pg_advisory_lock_shared(id);",
		"SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_advisory_lock_shared('-12'::pg_catalog.int8) END"} {
		if shared := s.Receive(&pgproto3.Query{String: sql}).Last(); !slices.Equal(shared.Locks(), []Lock{{-12, true}}) {
			t.Errorf("%s: %v", sql, shared.Locks())
		}
	}
	for granted, want := range map[bool]string{true: "t", false: "f"} {
		if q.Waited(granted); string(q.Rows[0][0]) != want || q.Code != "" {
			t.Errorf("granted %v: %q, %s", granted, q.Rows, q.Code)
		}
	}
	plain := &Statement{Kind: PlainWait}
	if plain.Waited(false); plain.Code != "55P03" {
		t.Errorf("a plain wait whose time is over: %+v", plain)
	}
}

func TestABatchHasModesOrNone(t *testing.T) {
	array := func(size int, elements ...byte) []byte {
		var raw bytes.Buffer
		raw.Write(make([]byte, 20))
		for _, e := range elements {
			raw.Write([]byte{0, 0, 0, byte(size)})
			raw.Write(make([]byte, size-1))
			raw.WriteByte(e)
		}
		return raw.Bytes()
	}
	none, ids := array(8)[:12], array(8, 1, 2)
	for _, c := range []struct {
		params         [][]byte
		unlocks, locks []Lock
	}{
		{[][]byte{ids, none}, []Lock{{1, false}, {2, false}}, nil},
		{[][]byte{none, ids}, nil, []Lock{{1, false}, {2, false}}},
		{[][]byte{array(8, 3), array(1, 1), ids, array(1, 0, 1)}, []Lock{{3, true}}, []Lock{{1, false}, {2, true}}},
	} {
		s := &Statement{Kind: Batch, Params: c.params}
		if !slices.Equal(s.Unlocks(), c.unlocks) || !slices.Equal(s.Locks(), c.locks) {
			t.Errorf("%v: unlocks %v, locks %v", c.params, s.Unlocks(), s.Locks())
		}
	}
}

func TestAPipeKeepsBytesForItsReader(t *testing.T) {
	client, server := Pipe()
	for _, text := range []string{"a", "bc"} {
		if _, err := io.WriteString(client, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := server.Write([]byte("d")); err == nil {
		t.Error("a write to a closed end")
	}
}
