//go:build unix

package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readersLock is the lock of a reader. The time passes between its two reads when it is asked for the first time whether it has ended.
type readersLock struct {
	scripted
	passes func()
}

func (r *readersLock) Err() error {
	if passes := r.passes; passes != nil {
		r.passes = nil
		passes()
	}
	return r.err
}

// readers is a load on a server with a key, and what another process has of both.
func readers(t *testing.T) (l *load, book *oracle.Book, slots *oracle.Slots) {
	t.Helper()
	server, name := pgtest.NewDatabase(t)
	conn, err := pgx.Connect(t.Context(), server.DSNOf(name))
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	check(t, oracle.CreateTable(t.Context(), conn, "counters", 1))
	path := filepath.Join(t.TempDir(), "slots")
	check(t, oracle.CreateSlots(path, 1))
	each := func() (*oracle.Book, *oracle.Slots) {
		book, err := oracle.OpenBook(t.Context(), server.DSNOf(name), "test", "counters", 1)
		check(t, err)
		t.Cleanup(book.Close)
		slots, err := oracle.OpenSlots(path, 1)
		check(t, err)
		t.Cleanup(func() { check(t, slots.Close()) })
		return book, slots
	}
	l = &load{record: newRecorder(1)}
	l.book, l.slots = each()
	book, slots = each()
	return l, book, slots
}

func TestAReaderSeesAWriter(t *testing.T) {
	l, book, slots := readers(t)
	write := func() {
		n, err := book.Read(0)
		check(t, err)
		_, err = book.Write(0, n+1, func() bool { return true })
		check(t, err)
	}
	gone := errors.New("gone")
	for _, tt := range []struct {
		name   string
		lock   readersLock
		want   oracle.Seen
		counts Counts
	}{
		{name: "nobody is there", counts: Counts{Acquired: 1, Read: 1}},
		{
			name: "a writer writes that does not show in the table", lock: readersLock{passes: write},
			want: oracle.Seen{Changed: 1}, counts: Counts{Acquired: 1, Read: 1, Met: 1},
		},
		{
			name: "a writer comes and goes and writes nothing", lock: readersLock{passes: func() { slots.Enter(0, 11); slots.Leave(0, 11) }},
			want: oracle.Seen{Overlaps: 1}, counts: Counts{Acquired: 1, Read: 1, Met: 1},
		},
		{
			name: "a writer comes, writes and stays", lock: readersLock{passes: func() { slots.Enter(0, 22); write() }},
			want: oracle.Seen{Overlaps: 1, Changed: 1}, counts: Counts{Acquired: 1, Read: 1, Met: 1},
		},
		{
			name: "that writer's lock is lost", lock: readersLock{
				scripted: scripted{lost: make(chan struct{})}, passes: func() { write(); slots.Lost(0, 22) },
			},
			counts: Counts{Acquired: 1, Read: 1, AfterLoss: 1},
		},
		{
			name: "the reader's lock is lost", lock: readersLock{scripted: scripted{err: gone}, passes: write},
			counts: Counts{Lost: 1, AfterLoss: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.record = newRecorder(1)
			check(t, l.share(0, &tt.lock, nil))
			if l.record.Keys[0] != tt.want || l.record.Counts != tt.counts || l.record.MostReaders != 1 {
				t.Errorf("%+v, %+v, at most %d readers; want %+v, %+v, 1", l.record.Keys[0], l.record.Counts, l.record.MostReaders, tt.want, tt.counts)
			}
			if !tt.lock.released {
				t.Error("the lock was not released")
			}
		})
	}
}

// A reader that met a writer hears within some seconds that one of the two locks is lost, or it is a violation.
func TestAReaderThatMeetsAWriterIsNotExcusedForNothing(t *testing.T) {
	l, _, slots := readers(t)
	slots.Enter(0, 11)
	slots.Lost(0, 22)
	check(t, l.share(0, &readersLock{scripted: scripted{lost: make(chan struct{})}}, nil))
	if want := (oracle.Seen{Overlaps: 1}); l.record.Keys[0] != want {
		t.Errorf("%+v, want %+v", l.record.Keys[0], want)
	}
}

// A writer whose lock is lost says so, for the readers that have met it.
func TestAWriterOwnsUpToReaders(t *testing.T) {
	for _, lost := range []bool{false, true} {
		l, _, slots := readers(t)
		lock := &scripted{}
		if lost {
			lock.err = errors.New("gone")
		}
		_, before := slots.EnterShared(0)
		check(t, l.hold(0, lock, nil))
		met := slots.LeaveShared(0, before)
		if met == 0 || slots.HasLost(0, met) != lost {
			t.Errorf("lost: %v; a reader met %d, which has lost its lock: %v", lost, met, slots.HasLost(0, met))
		}
	}
}

// What share of the acquisitions shares the lock, and which way each goes.
func TestReadersAndWriters(t *testing.T) {
	l, _, _ := readers(t)
	for _, share := range []float64{0, 1} {
		l.record = newRecorder(1)
		l.job.Readers = share
		shares := share == 1
		l.acquire = func(_ context.Context, _ string, shared bool) (lock, error) {
			if shared != shares {
				t.Errorf("a share of %v: the lock is shared: %v", share, shared)
			}
			return &scripted{}, nil
		}
		check(t, l.once(t.Context(), 0))
		want := oracle.Seen{Grants: 1}
		if shares {
			want.Grants = 0
		}
		if l.record.Keys[0] != want || l.record.Acquired != 1 || l.record.Read != 1-want.Grants {
			t.Errorf("a share of %v: %+v, %+v", share, l.record.Keys[0], l.record.Counts)
		}
		if readers, writers := l.record.ReaderWaits.TotalCount(), l.record.WriterWaits.TotalCount(); (readers == 1) != shares || readers+writers != 1 {
			t.Errorf("a share of %v: %d waits of readers, %d of writers", share, readers, writers)
		}
	}
}

// Whoever watches sees how far each caller is with its key.
func TestTheStagesOfAnAcquisitionShow(t *testing.T) {
	l, _, slots := readers(t)
	for share, held := range map[float64]oracle.States{0: {Held: 1}, 1: {Shared: 1}} {
		var waits, holds oracle.States
		l.job.Readers = share
		l.acquire = func(context.Context, string, bool) (lock, error) {
			waits = slots.States()
			return &readersLock{passes: func() { holds = slots.States() }}, nil
		}
		check(t, l.once(t.Context(), 0))
		if waits != (oracle.States{Handover: 1}) || holds != held || slots.States() != (oracle.States{Free: 1}) {
			t.Errorf("a share of %v: while it waits %+v, while it holds %+v, at the end %+v", share, waits, holds, slots.States())
		}
		l.acquire = func(context.Context, string, bool) (lock, error) { return nil, errors.New("no") }
		if err := l.once(t.Context(), 0); err == nil || slots.States() != (oracle.States{Free: 1}) {
			t.Errorf("after a failure (%v) %+v", err, slots.States())
		}
	}
}
