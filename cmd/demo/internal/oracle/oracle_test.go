package oracle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func openBook(t *testing.T, dsn string) *Book {
	t.Helper()
	book, err := OpenBook(t.Context(), dsn, "test", "counters", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(book.Close)
	return book
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func yes() bool { return true }

func write(t *testing.T, book *Book, key int, n uint64) {
	t.Helper()
	if wrote, err := book.Write(key, n, yes); err != nil || !wrote {
		t.Fatalf("wrote: %v, %v", wrote, err)
	}
}

func TestAHolderThatHasLostItsLockDoesNotWrite(t *testing.T) {
	server, name := pgtest.NewDatabase(t)
	conn := connect(t, server.DSNOf(name))
	check(t, CreateTable(t.Context(), conn, "counters", 1))
	book := openBook(t, server.DSNOf(name))
	if wrote, err := book.Write(0, 1, func() bool { return false }); wrote || err != nil {
		t.Errorf("wrote: %v, %v", wrote, err)
	}
	rows, err := ReadTable(t.Context(), conn, "counters", 1)
	check(t, err)
	if rows[0] != (Row{}) {
		t.Errorf("the row is %+v", rows[0])
	}
}

// The interleaving that a lock is there to prevent, by hand: both holders read before either writes.
func TestAnOverlapIsSeenByTheCounter(t *testing.T) {
	server, name := pgtest.NewDatabase(t)
	conn := connect(t, server.DSNOf(name))
	check(t, CreateTable(t.Context(), conn, "counters", 3))
	one, two := openBook(t, server.DSNOf(name)), openBook(t, server.DSNOf(name))

	readOne, err := one.Read(1)
	check(t, err)
	readTwo, err := two.Read(1)
	check(t, err)
	write(t, one, 1, readOne+1)
	write(t, two, 1, readTwo+1)
	next, err := one.Read(2)
	check(t, err)
	write(t, one, 2, next+1)

	rows, err := ReadTable(t.Context(), conn, "counters", 3)
	check(t, err)
	if want := (Row{N: 1, Writes: 2, Torn: 1}); rows[1] != want {
		t.Errorf("the row is %+v, want %+v", rows[1], want)
	}
	verdict := Judge(rows, [][]Seen{{{}, {Grants: 1}, {Grants: 1}}, {{}, {Grants: 1}, {}}})
	if verdict.Violations != 1 || verdict.BadKeys != 1 || verdict.LostUpdates != 1 {
		t.Errorf("the verdict is %+v, want one violation on one key", verdict)
	}
}

func TestATableOfSomebodyElseIsLeftAlone(t *testing.T) {
	server, name := pgtest.NewDatabase(t)
	conn := connect(t, server.DSNOf(name))
	if _, err := conn.Exec(t.Context(), `CREATE TABLE precious AS SELECT 42 AS answer`); err != nil {
		t.Fatal(err)
	}
	err := CreateTable(t.Context(), conn, "precious", 3)
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "42P07" {
		t.Errorf("the error is %v, want duplicate_table", err)
	}
	var answer int
	if err := conn.QueryRow(t.Context(), `SELECT answer FROM precious`).Scan(&answer); err != nil || answer != 42 {
		t.Errorf("the table now says %d (%v)", answer, err)
	}
}

func TestCreateTableSaysWhatIsMissing(t *testing.T) {
	server, name := pgtest.NewDatabase(t)
	conn := connect(t, server.DSNOf(name))
	if _, err := conn.Exec(t.Context(), `SET search_path = nowhere`); err != nil {
		t.Fatal(err)
	}
	if err := CreateTable(t.Context(), conn, "counters", 1); err == nil || !strings.Contains(err.Error(), "search_path") {
		t.Errorf("no schema: %v", err)
	}
	if _, err := conn.Exec(t.Context(), `RESET search_path; CREATE ROLE visitor_`+name+`; SET ROLE visitor_`+name); err != nil {
		t.Fatal(err)
	}
	if err := CreateTable(t.Context(), conn, "counters", 1); err == nil || !strings.Contains(err.Error(), "grant it CREATE") {
		t.Errorf("no right: %v", err)
	}
	if _, err := conn.Exec(t.Context(), `RESET ROLE; DROP ROLE visitor_`+name); err != nil {
		t.Fatal(err)
	}
}

func TestAWriteWhoseRowHasGoneIsAnError(t *testing.T) {
	server, name := pgtest.NewDatabase(t)
	conn := connect(t, server.DSNOf(name))
	check(t, CreateTable(t.Context(), conn, "counters", 1))
	book := openBook(t, server.DSNOf(name))
	if _, err := book.Write(7, 1, yes); err == nil || errors.Is(err, ErrUncertain) {
		t.Errorf("writing a row that is not there: %v, want an error, and not one of doubt", err)
	}
	check(t, DropTable(t.Context(), conn, "counters"))
	if _, err := book.Write(0, 1, yes); err == nil || errors.Is(err, ErrUncertain) {
		t.Errorf("writing a table that is not there: %v, want an error, and not one of doubt", err)
	}
}

func TestOpenBookRepeatsNoPassword(t *testing.T) {
	_, err := OpenBook(t.Context(), "postgres://u:hunter2@[::1/x", "test", "t", 1)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error is %v", err)
	}
}

func TestSlots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slots")
	check(t, CreateSlots(path, 3))
	one, err := OpenSlots(path, 3)
	check(t, err)
	two, err := OpenSlots(path, 3)
	check(t, err)

	one.Enter(1, 11)
	if !one.Leave(1, 11) {
		t.Error("a holder that was alone met somebody")
	}
	one.Enter(1, 11)
	two.Enter(1, 22)
	if one.Leave(1, 11) {
		t.Error("a holder did not notice the other one that entered through its own mapping")
	}
	if !two.Leave(1, 22) {
		t.Error("the overlap was counted twice")
	}
	one.Enter(2, 11) // and its process is killed
	two.Enter(2, 22)
	if !two.Leave(2, 22) {
		t.Error("a mark that was left behind counted as an overlap")
	}

	// A holder that had lost its lock before it entered owns up to the one that it pushed out.
	one.Enter(0, 11)
	if pushedOut := two.Enter(0, 22); pushedOut != 11 {
		t.Errorf("pushed out %d, want 11", pushedOut)
	}
	if one.Leave(0, 11) || one.Excused(0, 11) {
		t.Error("an overlap was not seen, or excused although nobody owned up")
	}
	two.Excuse(0, 11)
	if !one.Excused(0, 11) || one.Excused(0, 22) {
		t.Error("the wrong one is excused")
	}
	two.Excuse(1, 0)
	if one.Excused(1, 11) {
		t.Error("excused for nothing")
	}
	check(t, one.Close())
	check(t, two.Close())
}

func TestSlotsOfReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slots")
	check(t, CreateSlots(path, 1))
	s, err := OpenSlots(path, 1)
	check(t, err)
	other, err := OpenSlots(path, 1)
	check(t, err)
	for _, tt := range []struct {
		name           string
		before, during func()
		met            uint64
	}{
		{name: "nobody was ever there"},
		{name: "a writer was there earlier", before: func() { other.Enter(0, 11); other.Leave(0, 11) }},
		{name: "a writer was there all the time", before: func() { other.Enter(0, 22) }, met: 22},
		{name: "and leaves", during: func() { other.Leave(0, 22) }, met: 22},
		{name: "a writer comes", during: func() { other.Enter(0, 33) }, met: 33},
		{name: "a writer follows on another", during: func() { other.Leave(0, 33); other.Enter(0, 44) }, met: 44},
		{name: "a writer comes and goes", before: func() { other.Leave(0, 44) }, during: func() { other.Enter(0, 55); other.Leave(0, 55) }, met: 55},
		{name: "the writers have gone"},
	} {
		if tt.before != nil {
			tt.before()
		}
		readers, before := s.EnterShared(0)
		another, _ := other.EnterShared(0)
		if readers != 1 || another != 2 {
			t.Errorf("%s: %d readers and then %d, want 1 and 2", tt.name, readers, another)
		}
		if tt.during != nil {
			tt.during()
		}
		if met := s.LeaveShared(0, before); met != tt.met {
			t.Errorf("%s: the reader met %d, want %d", tt.name, met, tt.met)
		}
		other.LeaveShared(0, before)
	}
	if s.HasLost(0, 55) {
		t.Error("a writer has lost its lock that never said so")
	}
	other.Lost(0, 55)
	if !s.HasLost(0, 55) || s.HasLost(0, 44) {
		t.Error("the wrong writer has lost its lock")
	}
	// The mark of a writer that has left is no writer that was pushed out.
	if pushedOut := s.Enter(0, 66); pushedOut != 0 {
		t.Errorf("pushed out %d, and nobody was there", pushedOut)
	}
	check(t, s.Close())
	check(t, other.Close())
}
