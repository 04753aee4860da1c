package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
)

func TestPickersStayWithinTheKeys(t *testing.T) {
	for _, skew := range Skews {
		for _, keys := range []int{1, 2, 50} {
			pick := newPicker(skew, keys)
			seen := make([]int, keys)
			for range 20_000 {
				seen[pick()]++ // panics beyond the last
			}
			if seen[0] == 0 || seen[keys-1] == 0 {
				t.Errorf("%s over %d keys never drew the first or the last: %v", skew, keys, seen)
			}
			// A uniform draw gives each of 50 keys 2 %; zipf gives the first far more.
			if hot := seen[0] > 20_000/10; keys == 50 && hot != (skew == "zipf") {
				t.Errorf("%s gave the first of %d keys %d of 20,000 draws", skew, keys, seen[0])
			}
		}
	}
}

func TestKindOf(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{fmt.Errorf("key x, waited 3s: %w", &pgconn.PgError{Code: "53300", Message: "too many clients"}), "server: too many clients (SQLSTATE 53300)"},
		{fmt.Errorf("a: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}), "network: dial: connection refused"},
		{fmt.Errorf("a: %w", context.DeadlineExceeded), "timed out"},
		{errors.Join(errors.New("first"), fmt.Errorf("b: %w", errors.New("last"))), "last"},
		{errors.New(" plain "), "plain"},
	}
	for _, tt := range tests {
		if got := kindOf(tt.err); got != tt.want {
			t.Errorf("kindOf(%v) = %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestTallyKeepsOnlySoManyKindsOfFailure(t *testing.T) {
	var tally Tally
	for i := range 100 {
		tally.fail(fmt.Errorf("failure %d", i))
	}
	var sum uint64
	for _, reason := range tally.Reasons {
		sum += reason.Count
	}
	if len(tally.Reasons) > reasonKinds+1 || sum != 100 || tally.Failed != 100 {
		t.Errorf("%d kinds with %d failures, %d failed", len(tally.Reasons), sum, tally.Failed)
	}
}

func TestRecorderTellsWritesInDoubtFromOthers(t *testing.T) {
	r := newRecorder(2)
	r.wrote(1, nil)
	r.wrote(1, fmt.Errorf("x: %w", oracle.ErrUncertain))
	r.wrote(1, errors.New("refused"))
	r.waited(0, false)
	r.waited(2*maxWait, true)
	if want := (oracle.Seen{Grants: 1, Uncertain: 1}); r.Keys[1] != want || r.Keys[0] != (oracle.Seen{}) {
		t.Errorf("the keys are %+v", r.Keys)
	}
	if r.Acquired != 1 || r.Failed != 2 {
		t.Errorf("acquired %d, failed %d", r.Acquired, r.Failed)
	}
	if n := r.Waits.TotalCount(); n != 2 {
		t.Errorf("%d waits were recorded, want 2: the shortest and the longest count too", n)
	}
	if readers, writers := r.ReaderWaits.TotalCount(), r.WriterWaits.TotalCount(); readers != 1 || writers != 1 {
		t.Errorf("%d waits of readers and %d of writers, want 1 and 1", readers, writers)
	}
	if first, second := r.progress().Waits.TotalCount(), r.progress().Waits.TotalCount(); first != 2 || second != 0 {
		t.Errorf("the progress tells of %d waits and then of %d, want 2 and 0", first, second)
	}
}

// What one process has seen arrives at its parent and is added up.
func TestTalliesAddUp(t *testing.T) {
	r := newRecorder(1)
	r.wrote(0, nil)
	r.waited(3*time.Millisecond, true)
	r.note(func(t *Tally) {
		t.fail(errors.New("x"))
		t.Read, t.MostReaders = 1, 7
	})
	encoded, err := json.Marshal(r.Tally)
	if err != nil {
		t.Fatal(err)
	}
	all := Tally{Waits: NewWaits()}
	for range 2 {
		var told Tally
		if err := json.Unmarshal(encoded, &told); err != nil {
			t.Fatal(err)
		}
		all.Add(&told)
	}
	if all.Counts != (Counts{Acquired: 2, Read: 2, Failed: 2}) || all.Waits.TotalCount() != 2 || all.Waits.Max() < 3000 {
		t.Errorf("added up to %+v, %d waits up to %d µs", all.Counts, all.Waits.TotalCount(), all.Waits.Max())
	}
	if all.ReaderWaits.TotalCount() != 2 || all.WriterWaits.TotalCount() != 0 || all.MostReaders != 7 {
		t.Errorf("%d waits of readers, %d of writers, at most %d readers", all.ReaderWaits.TotalCount(), all.WriterWaits.TotalCount(), all.MostReaders)
	}
	if want := []Reason{{Kind: "x", Count: 2, First: "x"}}; !slices.Equal(all.Reasons, want) {
		t.Errorf("the reasons are %+v, want %+v", all.Reasons, want)
	}
}

// slotsOf are slots of one process.
func slotsOf(t *testing.T, keys int) *oracle.Slots {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slots")
	if err := oracle.CreateSlots(path, keys); err != nil {
		t.Fatal(err)
	}
	slots, err := oracle.OpenSlots(path, keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := slots.Close(); err != nil {
			t.Error(err)
		}
	})
	return slots
}

// scripted is a lock whose life the test writes.
type scripted struct {
	lost     chan struct{}
	err      error
	released bool
}

func (s *scripted) Done() <-chan struct{} { return s.lost }
func (s *scripted) Err() error            { return s.err }
func (s *scripted) Release(context.Context) error {
	s.released = true
	return nil
}

// A grant that arrives together with its cancellation is given back, and its holder never enters.
func TestAGrantThatMeetsItsCancellationIsGivenBack(t *testing.T) {
	draining, drain := context.WithCancel(t.Context())
	granted := &scripted{}
	l := &load{record: newRecorder(1), slots: slotsOf(t, 1)}
	l.acquire = func(ctx context.Context, _ string, _ bool) (lock, error) {
		drain()
		<-ctx.Done()
		return granted, nil
	}
	// There is no counter: reading it would panic.
	if err := l.once(draining, 0); err != nil {
		t.Fatal(err)
	}
	if got := l.record.Counts; got != (Counts{Withdrawn: 1}) {
		t.Errorf("counted %+v, want one withdrawal", got)
	}
	if !granted.released {
		t.Error("the lock was not released")
	}
}

func TestAnErrorThatNobodyAskedForIsAFailure(t *testing.T) {
	l := &load{record: newRecorder(1), slots: slotsOf(t, 1)}
	want := errors.New("out of order")
	l.acquire = func(context.Context, string, bool) (lock, error) { return nil, want }
	if err := l.once(t.Context(), 0); !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
	// A context's error where no context had ended is one, too.
	l.acquire = func(context.Context, string, bool) (lock, error) { return nil, context.Canceled }
	if err := l.once(t.Context(), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want it reported", err)
	}
}
