package pg

import (
	"slices"
	"strconv"
	"strings"
)

// The health question. A bare SELECT 1 proves nothing behind a pooler, which answers it from any backend, and a proxy may
// answer a bare pg_backend_pid() itself; inside an expression it has to ask the server. What makes a session this session
// is in the answer: backend pid and start, server start, database, and whether the server is in recovery. The role is not:
// it may be renamed or dropped while its sessions and their locks live. A backend's start is shown to its own role; where
// SET ROLE hides it the answer has a dash.
//
// The answer is compared with what was answered before, and settings may change meanwhile, by a reload or in a holder's transaction. So it has no
// text whose form depends on one: times are whole microseconds, since extra_float_digits rounds what is no integer, and
// the database's name has its bytes beyond ASCII as \nnn, since client_encoding converts them.
var askStatement = statement{"lockkeeper_ask", `SELECT pg_catalog.concat(pg_catalog.pg_backend_pid(), ' ',
 pg_catalog.pg_is_in_recovery(), ' ',
 ` + microseconds("pg_catalog.pg_postmaster_start_time()") + `, ' ',
 COALESCE((SELECT ` + microseconds("a.backend_start") + `::pg_catalog.text
  FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a), '-'), ' ',
 pg_catalog.encode(` + databaseBytes + `, 'escape'::pg_catalog.text))`, nil}

// microseconds is a time in whole microseconds since 1970, as [time.UnixMicro] reads it.
func microseconds(of string) string {
	return "(pg_catalog.date_part('epoch', " + of + ") OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8"
}

// identity is the answer, taken apart.
type identity struct {
	text     string
	pid      uint32
	recovery bool
	server   string // when the server was started, in microseconds
	started  string // when the backend was started; "-" where that is not shown
	database string // with \nnn for each byte beyond ASCII
}

func parseIdentity(text string) (identity, error) {
	words := strings.SplitN(text, " ", 5)
	if len(words) < 5 {
		return identity{}, unsafeBecause("the server does not say which backend answers")
	}
	pid, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil || pid == 0 {
		return identity{}, unsafeBecause("the server does not say which backend answers")
	}
	return identity{text: text, pid: uint32(pid), recovery: words[1] == "t", server: words[2], started: words[3],
		database: words[4]}, nil
}

// sameBackend reports whether two answers to the health question come from one backend of one server. Recovery says whether
// the later one comes from a standby.
func sameBackend(first, later string) (same, recovery bool) {
	if first == later {
		return true, false
	}
	a, b := strings.SplitN(first, " ", 5), strings.SplitN(later, " ", 5)
	if len(a) < 5 || len(b) < 5 {
		return false, false
	}
	if a[3] == "-" || b[3] == "-" { // a right to see it was given or taken meanwhile
		a[3], b[3] = "-", "-"
	}
	return slices.Equal(a, b), b[1] == "t"
}
