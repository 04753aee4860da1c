package pg

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestEvidenceOfALentSession: who has the lock, as another session was told, is evidence as of the time of the question.
func TestEvidenceOfALentSession(t *testing.T) {
	config, err := (&Config{}).WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	lent := func() *Solo {
		c := &connection{pid: 7, identity: "7 f 1500000 1700000000250000 db", asked: now}
		s := &Solo{session: newSession(&Pool{config: config}, c, 1), loanState: loanState{loan: noLoan, phase: lendOpen}}
		s.trust(now)
		return s
	}
	mine := &Holder{PID: 7, SessionSince: time.UnixMicro(1_700_000_000_250_000)}
	hidden := &Holder{PID: 7}
	for name, test := range map[string]struct {
		answer WhoAnswer
		until  time.Duration
		lost   bool
	}{
		"it has the lock":              {WhoAnswer{Holder: mine, Asked: now.Add(3 * time.Second)}, 3 * time.Second, false},
		"its beginning is not shown":   {WhoAnswer{Holder: hidden, Asked: now.Add(3 * time.Second)}, 3 * time.Second, false},
		"an old question":              {WhoAnswer{Holder: mine, Asked: now.Add(-time.Second)}, 0, false},
		"no answer":                    {WhoAnswer{}, 0, false},
		"another has the lock":         {WhoAnswer{Holder: &Holder{PID: 8, SessionSince: mine.SessionSince}, Asked: now.Add(time.Second)}, 0, true},
		"another of that number":       {WhoAnswer{Holder: &Holder{PID: 7, SessionSince: mine.SessionSince.Add(time.Hour)}, Asked: now.Add(time.Second)}, 0, true},
		"nobody has the lock any more": {WhoAnswer{Asked: now.Add(time.Second)}, 0, true},
	} {
		s := lent()
		s.proved(test.answer)
		if got := s.TrustedUntil().Sub(now) - config.Trust(); got != test.until || (s.loss != nil) != test.lost {
			t.Errorf("%s: trusted for %v more, %v", name, got, s.loss)
		}
	}
}

// A session that has been lent for long is not idle: its owner's timer does not fire for that, again and again.
func TestTheTimerOfALentSession(t *testing.T) {
	config, err := (&Config{}).WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		phase lending
		air   []*sending
		until func(s *Solo) time.Time
	}{
		"while it is handed over":   {lendAsked, []*sending{{deadline: time.Now().Add(time.Hour)}}, func(s *Solo) time.Time { return s.TrustedUntil() }},
		"an answer is to come soon": {lendOpen, []*sending{{deadline: time.Now().Add(time.Second)}}, func(s *Solo) time.Time { return s.air[0].deadline }},
		"with its holder":           {lendOpen, nil, (*Solo).proofDue},
		"while it is taken back":    {lendRevoked, nil, func(s *Solo) time.Time { return s.TrustedUntil() }},
	} {
		now := time.Now()
		s := &Solo{session: newSession(&Pool{config: config}, &connection{pid: 7, asked: now}, 1), held: true, loanState: loanState{loan: noLoan, phase: test.phase}}
		s.trust(now)
		s.usedAt, s.air, s.armed = now.Add(-time.Hour), test.air, time.Time{}
		s.aim()
		if got, want := s.armed, test.until(s); !got.Equal(want) {
			t.Errorf("%s: the timer fires in %v, should be in %v", name, got.Sub(now), want.Sub(now))
		}
		s.timer.Stop()
	}
}

// lendTo begins a transaction on a solo session that has the caller's lock.
func lendTo(t *testing.T, c *caller, s *Solo) *Tx {
	t.Helper()
	loan, err := s.NewLoan(c.r.ID, pgx.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Lend(loan)
	tx, err := loan.Begin(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func soloWithLock(t *testing.T, p *Pool) (*caller, *Solo) {
	t.Helper()
	c := newCaller(1)
	s := c.reserve(t, p, UseDedicated)
	if a := c.on(t, s, OpTry); !a.ok {
		t.Fatalf("%+v", a)
	}
	return c, s
}

// TestEndedContextSendsNoCommit: the transaction is rolled back, and the lock stays.
func TestEndedContextSendsNoCommit(t *testing.T) {
	d := newDatabase(t)
	p := openPool(t, sourceOf(t, d.dsn()), quick())
	c, s := soloWithLock(t, p)
	tx := lendTo(t, c, s)
	if _, err := tx.Exec(within(t), "CREATE TABLE written (n int)"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(within(t)); err != nil {
		t.Fatal(err)
	}
	tx = lendTo(t, c, s)
	if _, err := tx.Exec(within(t), "INSERT INTO written VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if err := tx.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	tx = lendTo(t, c, s)
	var n int
	if err := tx.QueryRow(within(t), "SELECT count(*) FROM written").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows were committed: %v", n, err)
	}
	if err := tx.Rollback(within(t)); err != nil {
		t.Error(err)
	}
	c.release(t, s)
	p.Return(s)
	<-ended(s) // it was lent
	c.quiet(t)
}

// TestATransactionThatChangesSettings: those by which a server writes numbers and names are no other session's.
func TestATransactionThatChangesSettings(t *testing.T) {
	d := newDatabase(t)
	config := quick()
	config.HealthInterval, config.HealthTimeout = 20*time.Millisecond, 2*patience
	p := openPool(t, sourceOf(t, d.dsn()), config)
	c, s := soloWithLock(t, p)
	tx := lendTo(t, c, s)
	if _, err := tx.Exec(within(t), "SET extra_float_digits = -15"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(within(t)); err != nil {
		t.Fatal(err)
	}
	answers := make(map[time.Time]bool) // of which the first may be the end of the loan
	eventually(t, "the session is asked, or lost", func() bool {
		answers[s.TrustedUntil()] = true
		return len(answers) > 3 || s.Lost() != nil
	})
	if err := s.Lost(); err != nil {
		t.Fatal(err)
	}
	c.release(t, s)
	p.Return(s)
}

// TestALoanThatNobodyWaitsFor is taken back.
func TestALoanThatNobodyWaitsFor(t *testing.T) {
	d := newDatabase(t)
	p := openPool(t, sourceOf(t, d.dsn()), quick())
	c, s := soloWithLock(t, p)
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	for range 50 {
		loan, err := s.NewLoan(c.r.ID, pgx.TxOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.Lend(loan)
		tx, err := loan.Begin(ctx)
		if err == nil {
			t.Fatal("a transaction with a context that has ended")
		}
		if tx != nil {
			t.Fatal("a transaction beside an error")
		}
	}
	tx := lendTo(t, c, s)
	if err := tx.Commit(within(t)); err != nil {
		t.Error(err)
	}
	if err := s.Lost(); err != nil {
		t.Error(err)
	}
	c.release(t, s)
	p.Return(s)
}
