package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/locker"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
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
	tally := newTally(1)
	for i := range 100 {
		tally.fail(fmt.Errorf("failure %d", i))
	}
	result, err := tally.result()
	if err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for _, reason := range result.Reasons {
		sum += reason.Count
	}
	if len(result.Reasons) > reasonKinds+1 || sum != 100 || result.Failed != 100 {
		t.Errorf("%d kinds with %d failures, %d failed", len(result.Reasons), sum, result.Failed)
	}
}

func TestTallyTellsWritesInDoubtFromOthers(t *testing.T) {
	tally := newTally(2)
	tally.wrote(1, nil)
	tally.wrote(1, fmt.Errorf("x: %w", oracle.ErrUncertain))
	tally.wrote(1, errors.New("refused"))
	tally.waited(0)
	tally.waited(2 * maxWait)
	result, err := tally.result()
	if err != nil {
		t.Fatal(err)
	}
	if want := (wire.KeyCount{Grants: 1, Uncertain: 1}); result.Keys[1] != want || result.Keys[0] != (wire.KeyCount{}) {
		t.Errorf("the keys are %+v", result.Keys)
	}
	if result.Acquired != 1 || result.Failed != 2 {
		t.Errorf("acquired %d, failed %d", result.Acquired, result.Failed)
	}
	if n := tally.waits.TotalCount(); n != 2 {
		t.Errorf("%d waits were recorded, want 2: the shortest and the longest count too", n)
	}
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

type scriptedLocks struct {
	acquire func(context.Context) (locker.Lock, error)
}

func (s scriptedLocks) Acquire(ctx context.Context, _ string) (locker.Lock, error) {
	return s.acquire(ctx)
}
func (s scriptedLocks) Stats() locker.Stats         { return locker.Stats{} }
func (s scriptedLocks) Close(context.Context) error { return nil }

// A grant that arrives together with its cancellation is given back, and its holder never enters.
func TestAGrantThatMeetsItsCancellationIsGivenBack(t *testing.T) {
	draining, drain := context.WithCancel(t.Context())
	lock := &scripted{}
	l := &load{tally: newTally(1), names: []string{"k"}}
	l.locks = scriptedLocks{func(ctx context.Context) (locker.Lock, error) {
		drain()
		<-ctx.Done()
		return lock, nil
	}}
	// There is neither a counter nor a slot: entering would panic.
	if err := l.once(draining, 0); err != nil {
		t.Fatal(err)
	}
	if got := l.tally.counts(); got != (wire.Counts{Withdrawn: 1}) {
		t.Errorf("counted %+v, want one withdrawal", got)
	}
	if !lock.released {
		t.Error("the lock was not released")
	}
}

func TestAnErrorThatNobodyAskedForIsAFailure(t *testing.T) {
	l := &load{tally: newTally(1), names: []string{"k"}}
	want := errors.New("out of order")
	l.locks = scriptedLocks{func(context.Context) (locker.Lock, error) { return nil, want }}
	if err := l.once(t.Context(), 0); !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
	// A context's error where no context had ended is one, too.
	l.locks = scriptedLocks{func(context.Context) (locker.Lock, error) { return nil, context.Canceled }}
	if err := l.once(t.Context(), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want it reported", err)
	}
}

func TestCountGoroutinesSeesALeak(t *testing.T) {
	before := CountGoroutines(1 << 20).After
	const leaked = 20 // more than what earlier tests may still have on its way out
	end := make(chan struct{})
	for range leaked {
		go func() { <-end }()
	}
	got := countGoroutines(before, 10*time.Millisecond)
	close(end)
	if got.Leaked() < 1 || got.Leaked() > leaked || !strings.Contains(got.Stacks, "TestCountGoroutinesSeesALeak") {
		t.Errorf("leaked %d, and the stacks are\n%s", got.Leaked(), got.Stacks)
	}
	if got := CountGoroutines(before); got.Leaked() != 0 {
		t.Errorf("leaked %d after the goroutine had ended", got.Leaked())
	}
}
