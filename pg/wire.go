package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// wire is a connection that has been logged in on and is being set up or probed. It sends many commands at once, and no
// function of the user's runs meanwhile. One goroutine uses it at a time.
type wire struct {
	attempt *attempt
	conn    net.Conn
	socket  *socket // below conn, where the attempt has dialled it
	pg      *pgconn.PgConn
	front   *pgproto3.Frontend
	pid     uint32 // as the server gave it at the log-in; 0 where it gave none
	status  byte   // of the transaction: I, T or E
	used    bool   // somebody may have left something in the session
	broken  bool   // nothing more can be said on it
}

// command is one statement, and what came of it.
type command struct {
	sql     string
	params  [][]byte
	prepare *statement // it is prepared only
	close   *statement // it is removed
	more    bool       // the next command is of the same transaction: where this one fails, that one is not answered
	closes  bool       // its portal is closed, which would stay open as long as its transaction
	// optional says that nothing depends on it, so that it may fail.
	optional bool

	rows    [][][]byte
	warning string // the server's, of SQLSTATE 01000
	err     error  // the server's
}

func ask(sql string, params ...[]byte) *command { return &command{sql: sql, params: params} }

// label is the text of a command for an error.
func (c *command) label() string {
	switch {
	case c.prepare != nil:
		return "preparing " + c.prepare.name
	case c.close != nil:
		return "removing " + c.close.name
	}
	return c.sql
}

// text is the one value that the command answered.
func (c *command) text() (string, error) {
	if c.err != nil {
		return "", c.err
	}
	if len(c.rows) != 1 || len(c.rows[0]) != 1 {
		return "", fmt.Errorf("%d rows where one value was expected", len(c.rows))
	}
	return string(c.rows[0][0]), nil
}

// texts are the rows that the command answered; a null is the empty text.
func (c *command) texts() [][]string {
	rows := make([][]string, len(c.rows))
	for i, row := range c.rows {
		rows[i] = make([]string, len(row))
		for j, value := range row {
			rows[i][j] = string(value)
		}
	}
	return rows
}

// together makes the commands one transaction, which ends with the last of them unless one is BEGIN. A pooler by transaction
// or statement may take another backend after each: where there may be one, nothing is on its way to the last backend then.
func together(commands ...*command) []*command {
	for _, c := range commands[:len(commands)-1] {
		c.more = true
	}
	return commands
}

// newWire takes a connection that pgx has logged in on.
func newWire(a *attempt, conn *pgconn.PgConn) *wire {
	return &wire{attempt: a, pg: conn, conn: conn.Conn(), front: conn.Frontend(), pid: conn.PID(), status: conn.TxStatus()}
}

// exchange sends the commands in one flight and reads all their answers. Each is a transaction of its own, unless it is sent
// together with others or one of them is BEGIN: what fails does not stop the others. The error says that the connection is of no more use.
func (w *wire) exchange(ctx context.Context, what string, commands ...*command) error {
	if w.broken {
		return net.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w.attempt.expect(what)
	disarm := context.AfterFunc(ctx, func() { closeSocket(w.conn) })
	defer disarm()
	err := w.send(commands)
	failed := false // a command of the transaction whose answers are being read
	for i := 0; i < len(commands) && err == nil; i++ {
		c := commands[i]
		switch {
		case failed && c.more:
			c.err = errNotAnswered
		case failed:
			c.err = errNotAnswered
			err = w.receive(&command{})
		default:
			err = w.receive(c)
		}
		failed = c.more && c.err != nil
	}
	if err == nil {
		return nil
	}
	w.broken = true
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &timeout) && timeout.Timeout():
		return &silenceError{what: what, limit: w.attempt.limit}
	}
	return &exchangeError{what, err}
}

// exchangeError says what was asked for when a connection failed.
type exchangeError struct {
	what string
	err  error
}

func (e *exchangeError) Error() string { return e.what + ": " + e.err.Error() }
func (e *exchangeError) Unwrap() error { return e.err }

func (w *wire) send(commands []*command) error {
	out, err := encodeCommands(commands)
	if err != nil {
		return err
	}
	if err := w.conn.SetDeadline(time.Now().Add(w.attempt.limit)); err != nil {
		return noDeadlines(err)
	}
	_, err = w.conn.Write(out)
	return err
}

type encodable interface {
	Encode(dst []byte) ([]byte, error)
}

func encodeCommands(commands []*command) (out []byte, err error) {
	for _, c := range commands {
		messages := []encodable{&pgproto3.Parse{Query: c.sql}, &pgproto3.Bind{Parameters: c.params}, &pgproto3.Execute{}, &pgproto3.Sync{}}
		switch {
		case c.prepare != nil:
			messages = messages[2:]
			messages[0] = &pgproto3.Parse{Name: c.prepare.name, Query: c.prepare.sql, ParameterOIDs: c.prepare.params}
		case c.close != nil:
			messages = messages[2:]
			messages[0] = &pgproto3.Close{ObjectType: 'S', Name: c.close.name}
		}
		if c.closes {
			messages = slices.Insert(messages, len(messages)-1, encodable(&pgproto3.Close{ObjectType: 'P'}))
		}
		if c.more {
			messages = messages[:len(messages)-1]
		}
		for _, m := range messages {
			if out, err = m.Encode(out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// receive reads the answer to one command: until the server is ready for the next, or to the end of this one where more of
// its transaction follow.
func (w *wire) receive(c *command) error {
	for {
		if err := w.conn.SetReadDeadline(time.Now().Add(w.attempt.limit)); err != nil {
			return noDeadlines(err)
		}
		message, err := w.front.Receive()
		if err != nil {
			return errors.Join(c.err, err)
		}
		w.attempt.heard()
		switch m := message.(type) {
		case *pgproto3.DataRow:
			row := make([][]byte, len(m.Values))
			for i, v := range m.Values {
				row[i] = append([]byte(nil), v...)
			}
			c.rows = append(c.rows, row)
		case *pgproto3.NoticeResponse:
			if m.Code == "01000" {
				c.warning = m.Message
			}
		case *pgproto3.ErrorResponse:
			server := pgconn.ErrorResponseToPgError(m)
			c.err = errors.Join(c.err, server)
			if isLastWord(server) {
				return c.err
			}
			if c.more {
				return nil
			}
		case *pgproto3.CommandComplete:
			if c.more {
				return nil
			}
		case *pgproto3.ReadyForQuery:
			w.status = m.TxStatus
			return nil
		}
	}
}

var errNotAnswered = errors.New("a statement before this one has failed")

// rollback ends a transaction that somebody has left open, and that may have failed.
func (w *wire) rollback() []*command {
	if w.status == 'I' {
		return nil
	}
	return []*command{ask("ROLLBACK")}
}

// clean removes what somebody may have left in the session.
func (w *wire) clean(s *scope) []*command {
	if !w.used {
		return nil
	}
	return asked(s.clean)
}

// hangUp ends the session and closes the connection. It does not wait for the server.
func (w *wire) hangUp() {
	if w == nil {
		return
	}
	if bye, err := (&pgproto3.Terminate{}).Encode(nil); err == nil && !w.broken {
		if w.conn.SetDeadline(time.Now().Add(lateBound)) == nil {
			_, _ = w.conn.Write(bye)
		}
	}
	w.broken = true
	closeSocket(w.conn)
}
