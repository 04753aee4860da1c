package worker

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// kindOf puts an error into a class, so that a million failures of one kind are one line of the report. Errors name
// keys and times, so their texts differ; what is innermost usually does not.
func kindOf(err error) string {
	var pgErr *pgconn.PgError
	var netErr *net.OpError
	switch {
	case errors.As(err, &pgErr):
		return "server: " + pgErr.Message + " (SQLSTATE " + pgErr.Code + ")"
	case errors.As(err, &netErr):
		return "network: " + netErr.Op + ": " + rootText(netErr.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	default:
		return rootText(err)
	}
}

// rootText is the text of the innermost error; of several that were joined, the last one's.
func rootText(err error) string {
	for {
		var next error
		switch e := err.(type) { //nolint:errorlint // this is the unwrapping itself
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				next = all[len(all)-1]
			}
		}
		if next == nil {
			return strings.TrimSpace(err.Error())
		}
		err = next
	}
}
