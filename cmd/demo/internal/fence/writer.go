package fence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/child"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Way is how a holder writes.
type Way string

// The ways.
const (
	None  Way = "no fence"
	Guard Way = "Guard"
	Token Way = "Token"
)

// ways are all of them, in the order of the story.
var ways = []Way{None, Guard, Token}

// Orders are what a holder's process is told first.
type Orders struct {
	DSN, App, Namespace, Table string
	Way                        Way
}

// Hold is what a holder has acquired and read.
type Hold struct{ ID, Token, Value int64 }

// Outcome is what became of a write.
type Outcome struct {
	Written bool
	Refusal string // the error of a write that was refused
}

// holder serves the calls of the story in a process of its own. It never looks whether its lock is held: a program that is stopped between the look and
// the write does no better.
type holder struct {
	orders Orders
	locks  *manager.Manager
	conn   *pgx.Conn
	lock   *manager.Lock
	value  int64
}

// Serve is a holder's process.
func Serve(in io.Reader, out io.Writer) error { return child.Serve(&holder{}, in, out) }

// callBound bounds each call. A process that is stopped does not count the time.
const callBound = 30 * time.Second

// key is what all holders lock.
const key = "fence/counter"

// Open connects.
func (h *holder) Open(o Orders, _ *struct{}) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	h.orders = o
	config, err := server.Config(o.DSN, o.App)
	if err != nil {
		return err
	}
	if h.locks, err = manager.Open(ctx, o.DSN, manager.WithApplicationName(o.App), manager.WithNamespace(o.Namespace), manager.WithFencing()); err != nil {
		return err
	}
	h.conn, err = pgx.ConnectConfig(ctx, config.ConnConfig)
	return err
}

// Read takes the lock and reads the counter. By way of the token it leaves that there, so that nobody with a smaller one writes any more.
func (h *holder) Read(_ struct{}, answer *Hold) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	if h.lock, err = h.locks.Acquire(ctx, key, manager.WithDetachedHold()); err != nil {
		return err
	}
	if h.orders.Way == Token {
		err = h.conn.QueryRow(ctx, "UPDATE "+h.orders.Table+" SET token = $1 WHERE token <= $1 RETURNING value", h.lock.Token()).Scan(&h.value)
	} else {
		err = h.conn.QueryRow(ctx, "SELECT value FROM "+h.orders.Table).Scan(&h.value)
	}
	*answer = Hold{ID: h.lock.ID(), Token: h.lock.Token(), Value: h.value}
	return err
}

// Write writes what was read, and one more, and releases the lock.
func (h *holder) Write(_ struct{}, answer *Outcome) error {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	err := pgx.BeginFunc(ctx, h.conn, func(tx pgx.Tx) error {
		sql, args := "UPDATE "+h.orders.Table+" SET value = $1", []any{h.value + 1}
		switch h.orders.Way {
		case Guard:
			if err := manager.Guard(ctx, tx, h.lock); err != nil {
				return err
			}
		case Token:
			sql, args = sql+" WHERE token <= $2", append(args, h.lock.Token())
		case None:
		}
		tag, err := tx.Exec(ctx, sql, args...)
		answer.Written = err == nil && tag.RowsAffected() == 1
		if err == nil && !answer.Written {
			answer.Refusal = fmt.Sprintf("the row has a greater token than %d", h.lock.Token())
		}
		return err
	})
	if err != nil {
		answer.Written = false
		answer.Refusal = strings.TrimPrefix(err.Error(), "lockkeeper: ")
	}
	_ = h.lock.Release(ctx) // most often it is lost
	if err != nil && !errors.Is(err, manager.ErrFenced) {
		return err
	}
	return nil
}

// Close disconnects.
func (h *holder) Close(struct{}, *struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	return errors.Join(h.conn.Close(ctx), h.locks.Close(ctx))
}
