package pgserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// wire is a connection that speaks just enough of PostgreSQL's protocol to run a statement: this package may not
// depend on a driver, and the binaries may come without psql. Not safe for concurrent use.
type wire struct {
	conn net.Conn
	r    *bufio.Reader
	last byte // the server's state when it last was ready, by its own letter; 0 where it is not
}

// serverError is an error that the server sent.
type serverError struct{ severity, code, message string }

func (e *serverError) Error() string {
	return fmt.Sprintf("%s: %s (SQLSTATE %s)", e.severity, e.message, e.code)
}

// maxMessage bounds what is read into memory for one message.
const maxMessage = 1 << 24

// dial connects as the superuser over a unix socket.
func dial(ctx context.Context, socket, database string) (*wire, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	w := &wire{conn: conn, r: bufio.NewReader(conn)}
	startup := binary.BigEndian.AppendUint32(nil, 3<<16)
	for _, s := range []string{"user", Superuser, "database", database, "application_name", "lockkeeper-pgserver"} {
		startup = append(append(startup, s...), 0)
	}
	startup = append(startup, 0)
	size := binary.BigEndian.AppendUint32(nil, uint32(4+len(startup)))
	if _, err := w.ask(ctx, append(size, startup...)); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// query runs a statement and returns its rows as text; NULL is "".
func (w *wire) query(ctx context.Context, sql string) ([][]string, error) {
	msg := append([]byte{'Q'}, binary.BigEndian.AppendUint32(nil, uint32(4+len(sql)+1))...)
	return w.ask(ctx, append(append(msg, sql...), 0))
}

// ask sends a message and reads the reply to it. Once ctx has ended the connection is of no use any more.
func (w *wire) ask(ctx context.Context, message []byte) ([][]string, error) {
	w.last = 0
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetDeadline(time.Unix(1, 0)) })
	_, err := w.conn.Write(message)
	var rows [][]string
	if err == nil {
		rows, err = w.readReply()
	}
	if !stop() {
		w.last = 0
	}
	if err != nil && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return rows, err
}

// between says whether the connection stands between two statements, outside of a transaction.
func (w *wire) between() bool { return w.last == 'I' }

func (w *wire) close() { w.conn.Close() }

// readReply reads up to ReadyForQuery.
func (w *wire) readReply() (rows [][]string, err error) {
	var failed error
	for {
		kind, body, err := w.readMessage()
		if err != nil {
			return nil, errors.Join(failed, err)
		}
		switch kind {
		case 'Z':
			if len(body) == 1 {
				w.last = body[0]
			}
			return rows, failed
		case 'E':
			failed = parseError(body)
		case 'D':
			row, err := parseRow(body)
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
		case 'R':
			if len(body) < 4 || binary.BigEndian.Uint32(body) != 0 {
				return nil, errors.New("the server asks for a password on its unix socket")
			}
		}
	}
}

func (w *wire) readMessage() (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > maxMessage {
		return 0, nil, fmt.Errorf("message of %d bytes", size)
	}
	body = make([]byte, size-4)
	if _, err := io.ReadFull(w.r, body); err != nil {
		return 0, nil, err
	}
	return head[0], body, nil
}

func parseError(body []byte) error {
	e := &serverError{}
	for field := range bytes.SplitSeq(body, []byte{0}) {
		if len(field) == 0 {
			continue
		}
		switch value := string(field[1:]); field[0] {
		case 'S':
			e.severity = value
		case 'C':
			e.code = value
		case 'M':
			e.message = value
		}
	}
	return e
}

func parseRow(body []byte) ([]string, error) {
	short := errors.New("malformed row")
	if len(body) < 2 {
		return nil, short
	}
	row := make([]string, binary.BigEndian.Uint16(body))
	body = body[2:]
	for i := range row {
		if len(body) < 4 {
			return nil, short
		}
		n := int32(binary.BigEndian.Uint32(body))
		body = body[4:]
		if n < 0 {
			continue
		}
		if int(n) > len(body) {
			return nil, short
		}
		row[i], body = string(body[:n]), body[n:]
	}
	return row, nil
}
