package pg

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
)

func pidAnswer(t *testing.T, q *Questions) string {
	t.Helper()
	rows, err := q.Ask(within(t), "asking for the pid", "SELECT pg_catalog.pg_backend_pid(), NULL")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || len(rows[0]) != 2 || rows[0][1] != "" {
		t.Fatalf("the answer is %q", rows)
	}
	return rows[0][0]
}

// Questions keeps its connection, takes another when it has ended, and leaves none after Close.
func TestQuestions(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p := openDSN(t, d.dsn(), quick())
	q := p.Questions()
	first := pidAnswer(t, q)
	if second := pidAnswer(t, q); second != first || !q.Connected() {
		t.Errorf("pid %s, then %s", first, second)
	}
	d.exec(t, "SELECT pg_terminate_backend(%s)", first)
	second := pidAnswer(t, q)
	if second == first {
		t.Errorf("the session that has ended answers")
	}
	_, err := q.Ask(within(t), "asking for nonsense", "SELECT nonsense")
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v", err)
	}
	pidAnswer(t, q)
	q.opened = q.opened.Add(-questionsFor)
	if third := pidAnswer(t, q); third == second {
		t.Errorf("a connection is used for ever")
	}
	q.Close()
	q.Close()
	if q.Connected() {
		t.Error("connected after Close")
	}
	if _, err := p.Query(within(t), "asking once", "SELECT 1"); err != nil {
		t.Error(err)
	}
	closePool(t, p)
	d.isEmpty(t)
}

// A question to a server that hangs ends with its context, on a connection that is open and on one that is not.
func TestQuestionsToAFrozenServer(t *testing.T) {
	noLeaks(t)
	d := newServer(t, nil)
	p := openDSN(t, d.dsn(), quick())
	open, none := p.Questions(), p.Questions()
	pidAnswer(t, open)
	if err := d.SignalAll(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, q := range []*Questions{open, none} {
		ctx, cancel := context.WithCancel(within(t))
		asked := make(chan error, 1)
		go func() {
			_, err := q.Ask(ctx, "asking", "SELECT 1")
			asked <- err
		}()
		cancel()
		if err := <-asked; !errors.Is(err, context.Canceled) || q.Connected() {
			t.Errorf("%v, connected: %v", err, q.Connected())
		}
		q.Close()
	}
	if err := d.SignalAll(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	pidAnswer(t, open)
	open.Close()
	closePool(t, p)
	d.isEmpty(t)
}
