package pg

import (
	"context"
	"errors"
	"fmt"
)

// What Transact's transactions begin with. A role may have other defaults, and the sessions here do not wait for their commits.
const (
	beginSQL   = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE"
	durableSQL = "SELECT pg_catalog.set_config('synchronous_commit'::pg_catalog.text, 'on'::pg_catalog.text, true)"
)

var errNotDurable = errors.New("the server has committed, and did not wait for its synchronous standbys")

// Transact asks statements as one transaction, in one flight, on the connection of [Questions.Ask], and returns the rows of each. The
// transaction reads what is committed before each statement. No error says that it is committed and durable: on the server's disk, and on
// those of its synchronous standbys. With an error it may be committed all the same. Where the connection has ended since the last question,
// or a statement fails on it, all of it is done once more, on another. It blocks as Ask does.
func (q *Questions) Transact(ctx context.Context, what string, statements ...string) (rows [][][]string, err error) {
	err = q.again(ctx, func() error {
		commands := []*command{ask(beginSQL), ask(durableSQL)}
		for _, sql := range statements {
			commands = append(commands, ask(sql))
		}
		commit := ask("COMMIT")
		flight := q.connector.config.scope.outside(append(commands, commit))
		if err := q.ask(ctx, what, together(flight...)...); err != nil {
			return err
		}
		if commit.warning != "" { // an administrator cancelled the wait for a synchronous standby, which need not have it
			return fmt.Errorf("%w (%s)", errNotDurable, commit.warning)
		}
		rows = nil
		for _, c := range commands[2:] {
			rows = append(rows, c.texts())
		}
		return nil
	})
	return rows, err
}
