package locktest

import (
	"encoding/hex"
	"regexp"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// who answers who holds some locks, and who waits for them.
func (s *Server) who(q *pgfake.Statement) {
	q.Columns = 6
	for _, row := range s.table.Rows(q.Wanted()...) {
		app, began := s.about(row.PID)
		q.Text(strconv.FormatInt(row.ID, 10), pid(row.PID), app, "", strconv.FormatInt(began.UnixMicro(), 10), strconv.FormatBool(row.Granted))
	}
}

// about is the application's name of a session, and its beginning. One of [Server.Hold] has no name, and began with the server.
func (s *Server) about(pid uint32) (app string, began time.Time) {
	if session := s.session(pid); session != nil && session.name.Load() != nil {
		return *session.name.Load(), session.began
	}
	return "", s.began
}

// allLocks answers [manager.Manager.Locks]: id, granted, shared, pid, application, address, the session's beginning, how long it has waited.
func (s *Server) allLocks(q *pgfake.Statement) {
	q.Columns = 8
	for _, row := range s.table.Rows() {
		app, began := s.about(row.PID)
		q.Text(strconv.FormatInt(row.ID, 10), pgfake.Letter(row.Granted), pgfake.Letter(row.Shared), pid(row.PID), app, "",
			strconv.FormatInt(began.UnixMicro(), 10), "")
	}
}

// marks answers the question for deadlocks over processes, as the query in package manager does: an edge is a shared lock of two folded ids,
// both of which are somebody's.
func (s *Server) marks(q *pgfake.Statement) {
	q.Columns = 4
	rows := s.table.Rows()
	folds, begin := map[uint32]bool{}, map[uint32]bool{}
	for _, row := range rows {
		folds[fold(row.ID)] = folds[fold(row.ID)] || row.Granted
	}
	for _, row := range rows {
		from, to := uint32(uint64(row.ID)>>32), uint32(uint64(row.ID)) //nolint:gosec // its halves
		if row.Granted && row.Shared && folds[from] && folds[to] {
			begin[from] = true
			q.Text(pid(from), pid(to), pid(row.PID), "")
		}
	}
	for _, row := range rows {
		if row.Granted && begin[fold(row.ID)] {
			q.Text(pid(fold(row.ID)), strconv.FormatInt(row.ID, 10), "", "")
		}
	}
}

// terminate answers [manager.Manager.Terminate]: it ends the session that has this pid, beginning and application.
func (s *Server) terminate(q *pgfake.Statement) {
	numbers, name := equals.FindAllStringSubmatch(q.SQL, 2), decoded.FindStringSubmatch(q.SQL)
	if len(numbers) < 2 || name == nil {
		q.Code = "42601"
		return
	}
	for _, session := range s.all() {
		is := session.name.Load()
		if is != nil && pid(session.PID) == numbers[0][1] && strconv.FormatInt(session.began.UnixMicro(), 10) == numbers[1][1] &&
			hex.EncodeToString([]byte(*is)) == name[1] {
			session.terminate()
			q.Text("t")
		}
	}
}

// equals are the numbers that the statement compares with, decoded the name.
var (
	equals  = regexp.MustCompile(`\(pg_catalog\.=\) (\d+)`)
	decoded = regexp.MustCompile(`decode\('([0-9a-f]*)'`)
)

// fold is the number by which an edge names an id.
func fold(id int64) uint32 { return uint32(uint64(id)>>32) ^ uint32(uint64(id)) } //nolint:gosec // its halves

func pid(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
