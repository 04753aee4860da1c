package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Guard makes a transaction of the caller's, a pgx.Tx or an *sql.Tx on any connection to the same database, commit only if its hold is the newest: where
// somebody has drawn a newer token for the key, Guard fails with [ErrFenced], and from then on to the end of the transaction nobody draws one. So the
// transaction's work is before that of the next holder, and is seen by it. It is one statement: SELECT lockkeeper.guard(id, token), with [Lock.ID] and
// [Lock.Token]; other languages send it themselves.
//
// It is ordered with what holders who have no token do, in transactions of [Lock.BeginTx] too, in no way: they do not wait for a guarded transaction.
// ErrFenced may come to the newest holder too: where an earlier one noticed the loss of its lock too late, and drew a token meanwhile that nobody
// uses. Nothing is lost by that; acquire the lock again.
//
// Roll back after any error: but for a bad argument and an ended hold, it has broken the transaction. Call it once, before or after the work, and not inside a
// savepoint that may be rolled back. It is right under every isolation level. Under REPEATABLE READ and SERIALIZABLE begin the
// transaction inside the hold: a snapshot that is older than the token is ErrFenced too, with SQLSTATE 40001. Behind a driver
// that tells neither the server's detail nor a message in English it is 40001 alone: it may be another serialization failure.
//
// It takes one round trip, and waits for a token that is being drawn. The next holder waits for the guarded transaction: keep it short, and see to it that the server ends
// it if this process hangs (idle_in_transaction_session_timeout).
func Guard(ctx context.Context, tx any, held Fenced) error {
	name, err := guard(ctx, tx, held)
	if err != nil {
		return fmt.Errorf("lockkeeper: guard%s: %w", name, err)
	}
	return nil
}

// guard returns the key's name for the error, where it is known.
func guard(ctx context.Context, tx any, held Fenced) (name string, err error) {
	switch h := held.(type) {
	case *Lock:
		if h == nil {
			return "", errNoHold
		}
		name = " " + quoteKey(h.Key())
	case *LockSet:
		if h == nil {
			return "", errNoHold
		}
		name = " of " + plural(len(h.keys.all), "key")
	case nil:
		return "", errNoHold
	}
	t, err := transactionOf(tx)
	switch f := held.fenced(); {
	case ctx == nil:
		return name, ErrNilContext
	case err != nil:
		return name, err
	case f == nil:
		return name, fmt.Errorf("%w: it was acquired without WithFencing or WithToken", ErrNoToken)
	case held.Err() != nil:
		return name, fmt.Errorf("%w: the hold has ended: %w", ErrFenced, held.Err())
	default:
		return name, f.guard(ctx, t)
	}
}

var errNoHold = errors.New("a Lock or a LockSet is needed that is not nil")

// serverError is what the server says of a failure, as far as the driver tells.
type serverError struct {
	code, detail string
	detailed     bool // the driver tells the detail, where there is one
}

// serverErrorOf reads the error of a driver: of pgx, and of others behind database/sql, which have the fields of the protocol by their letters, as
// lib/pq and bun do, or the SQLSTATE alone.
func serverErrorOf(err error) (s serverError, ok bool) {
	const code, detail = 'C', 'D'
	var ofPgx *pgconn.PgError
	var gets interface{ Get(k byte) string }
	var fields interface{ Field(k byte) string }
	var states interface{ SQLState() string }
	switch {
	case errors.As(err, &ofPgx):
		return serverError{code: ofPgx.Code, detail: ofPgx.Detail, detailed: true}, true
	case errors.As(err, &gets):
		return serverError{code: gets.Get(code), detail: gets.Get(detail), detailed: true}, true
	case errors.As(err, &fields):
		return serverError{code: fields.Field(code), detail: fields.Field(detail), detailed: true}, true
	case errors.As(err, &states):
		return serverError{code: states.SQLState()}, true
	}
	return s, false
}

// isOfAnOldSnapshot reports whether a serialization failure is certainly that of a snapshot older than the token. The other kind is that of a SERIALIZABLE
// transaction that reads what another writes, which says nothing of tokens. PostgreSQL tells by the detail of that, which is not translated;
// the message may be.
func (s serverError) isOfAnOldSnapshot(err error) bool {
	if s.detailed {
		return !strings.HasPrefix(s.detail, "Reason code: ")
	}
	return strings.Contains(err.Error(), "could not serialize access due to concurrent ")
}

// fencedCode is the SQLSTATE of lockkeeper.guard.
const fencedCode = "LKF01"

func (f *fence) guard(ctx context.Context, tx transaction) error {
	var err error
	if len(f.ids) == 1 {
		err = tx.exec(ctx, "SELECT lockkeeper.guard($1::pg_catalog.int8, $2::pg_catalog.int8)", f.ids[0], f.token)
	} else {
		ids := make([]string, 0, len(f.ids))
		for _, id := range slices.Sorted(slices.Values(f.ids)) {
			ids = append(ids, strconv.FormatInt(id, 10))
		}
		err = tx.exec(ctx, "SELECT lockkeeper.guard_all($1::pg_catalog.text::pg_catalog.int8[], $2::pg_catalog.int8)", "{"+strings.Join(ids, ",")+"}", f.token)
	}
	server, ok := serverErrorOf(err)
	switch {
	case !ok:
		return err
	case server.code == fencedCode:
		return fmt.Errorf("%w: %w", ErrFenced, err)
	case server.code == "40001" && server.isOfAnOldSnapshot(err):
		return fmt.Errorf("%w: a token has been drawn since the transaction's snapshot: %w", ErrFenced, err)
	case server.code == "40001" && !server.detailed:
		return fmt.Errorf("the driver does not tell whether a token has been drawn since the transaction's snapshot: %w", err)
	case notMigrated(server.code):
		return fmt.Errorf("%w: run manager.Migrate once for this database: %w", ErrNotMigrated, err)
	case server.code == "25006":
		return fmt.Errorf("a read-only transaction has nothing to guard: %w", err)
	}
	return err
}
