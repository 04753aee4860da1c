package pg

import (
	"context"
	"time"
)

// Query asks the server one question, on a connection of its own that is closed after it: sessions carry nothing but locks. The answer is
// each row's values as text; a null is the empty text. what says what is asked, for the error. It blocks until the answer has come, ctx ends,
// or nothing is heard for as long as ConnectTimeout.
func (p *Pool) Query(ctx context.Context, what, sql string) ([][]string, error) {
	q := p.Questions()
	defer q.Close()
	return q.Ask(ctx, what, sql)
}

// Questions asks many questions on one connection, which it opens when it is first needed. One goroutine uses it at a time; it must be closed.
type Questions struct {
	connector *connector
	conn      *connection // nil: none is open
	opened    time.Time
}

// questionsFor bounds how long a connection for questions is kept: so that one to a server which has been replaced is not asked for long.
const questionsFor = 30 * time.Second

// Questions makes one. It has no connection yet.
func (p *Pool) Questions() *Questions { return &Questions{connector: p.connector} }

// Connected reports whether a connection is open.
func (q *Questions) Connected() bool { return q.conn != nil }

// Ask asks one question. See [Pool.Query]. Where the connection has ended since the last one, the question is asked on another.
func (q *Questions) Ask(ctx context.Context, what, sql string) (rows [][]string, err error) {
	err = q.again(ctx, func() error {
		question := ask(sql)
		err := q.ask(ctx, what, append([]*command{question}, q.connector.config.scope.renew()...)...)
		if err == nil { // else who asks may still be at it
			rows = question.texts()
		}
		return err
	})
	return rows, err
}

// again runs f, which asks on the connection that is open. Where that has ended since the last question, it runs f again on another. One to a
// server that has been replaced is not used: a token that is drawn there would be drawn again at the new one.
func (q *Questions) again(ctx context.Context, f func() error) (err error) {
	if q.conn != nil && time.Since(q.opened) < questionsFor && !q.connector.replaced(q.conn.timeline) {
		if err = f(); err == nil || ctx.Err() != nil {
			return err
		}
	}
	q.Close()
	if q.conn, err = q.connector.open(ctx); err != nil {
		q.conn = nil
		return err
	}
	q.opened = time.Now()
	return f()
}

// ask asks on the connection that is open. After an error there is none.
func (q *Questions) ask(ctx context.Context, what string, questions ...*command) error {
	a := newAttempt(q.connector.config.ConnectTimeout)
	w := q.wire(a)
	_, err := a.run(ctx, func(ctx context.Context) (*connection, error) { return nil, w.exchange(ctx, what, questions...) }, discard)
	for i := 0; i < len(questions) && err == nil; i++ { // else the attempt's goroutine may still be at it
		err = questions[i].err
	}
	if err != nil {
		discard(q.conn)
		q.conn = nil
		return connectError(ctx, err)
	}
	return nil
}

// wire is the connection as an attempt uses it.
func (q *Questions) wire(a *attempt) *wire {
	return &wire{attempt: a, conn: q.conn.conn, front: q.conn.front, pid: q.conn.pid, status: 'I'}
}

// Close closes the connection, if one is open. It does not wait for the server, but for a moment where a transaction is to be ended.
func (q *Questions) Close() {
	if q.conn == nil {
		return
	}
	w := q.wire(newAttempt(lateBound))
	q.conn = nil
	hungUp := make(chan struct{}, 1) // sent by the goroutine that hangs up; received below; never closed; capacity 1: it hangs up once
	start(func() (struct{}, error) { w.leave(q.connector.config.scope); return struct{}{}, nil }, func(struct{}, error) { hungUp <- struct{}{} })
	timer := time.NewTimer(2 * lateBound) // for a connection of the user's own making that knows no deadlines
	defer timer.Stop()
	select {
	case <-hungUp:
	case <-timer.C:
		closeSocket(w.conn)
	}
}
