package pg

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// maxBatch bounds the locks of one statement: enough to spread the cost of a round trip thin, few enough that the first of
// them need not wait long for the last.
const maxBatch = 512

// sending is one statement on its way: what was asked, and what was answered. A session's owner makes it and sends it, the
// reader fills the answer in and delivers it, and the owner gets it back. Whoever has it may touch it.
type sending struct {
	kind     sendingKind
	sent     time.Time
	deadline time.Time // when the answer must be here
	entries  []entry   // of locks: unlocks first, then tries
	unlocks  int
	shared   bool     // some of the entries are for shared locks
	single   bool     // a plain statement, answered with a boolean and not with letters
	plain    bool     // a wait whose answer is void and not a letter
	scope    *scope   // its session's
	whole    *Request // where the entries are no requests of their own: an opPoll, opWho, opHint or opListen

	// The answer.
	rows      int
	completed bool
	letters   []byte // for each entry, in order: 't', 'f', or standbyLetter
	identity  string
	who       map[int64]WhoAnswer
	text      string // of kindLend and kindBack: the last row
	loan      *Loan  // of kindLend
	err       error  // the server's
	skipped   bool   // it was not executed, since one before it has failed: it is sent again
	broken    error  // the answer is not of the expected form

	told atomic.Bool // written by the reader, before it tells the clients: the answers stand

	doubt    error // of a kindSettle: the error that put the entries in doubt
	repeated bool  // it was cancelled, and sent again
}

type sendingKind uint8

const (
	kindLocks  sendingKind = iota
	kindSettle             // unlocks of ids in doubt: both letters are an answer
	kindAsk                // the health question
	kindWho
	kindHint // or listen
	kindEnd  // of the session, in good order
	kindLend // the first statement of a loan
	kindPing // of a session that is lent
	kindBack // the last statements of a loan
)

// entry is what a session keeps of a request that it sent: once it is answered the request may be in use again.
type entry struct {
	id     int64
	op     Op
	shared bool
	ok     bool
	client Client
	req    *Request // nil where the request is sending.whole
}

// reset makes a sending ready to be filled again.
func (f *sending) reset(kind sendingKind) {
	clear(f.entries)
	*f = sending{kind: kind, entries: f.entries[:0], letters: f.letters[:0]}
}

// add appends the requests of one kind to the statement.
func (f *sending) add(requests []*Request, op Op) {
	for _, r := range requests {
		if r.Op == op {
			f.addOne(r)
		}
	}
}

func (f *sending) addOne(r *Request) {
	f.entries = append(f.entries, entry{id: r.ID, op: r.Op, shared: r.Shared, client: r.Client, req: r})
	f.shared = f.shared || r.Shared
}

// clearAnswer readies a statement to be sent again.
func (f *sending) clearAnswer() {
	f.rows, f.completed, f.letters, f.identity, f.who, f.err, f.skipped = 0, false, f.letters[:0], "", nil, nil, false
}

// mayRepeat reports whether a statement of the owner's own is to be sent once more: an administrator has cancelled it, which says nothing about
// the session.
func (f *sending) mayRepeat() bool {
	if f.repeated || f.err == nil || sqlState(f.err) != "57014" {
		return false
	}
	f.repeated = true
	return true
}

// message writes the statement of any kind but a hint, of which nothing depends.
func (f *sending) message(e *encoder) ([]byte, error) {
	switch f.kind {
	case kindAsk:
		return e.ask()
	case kindWho:
		return e.who(f.whole.inquiry.wishes)
	default:
		return f.encode(e)
	}
}

// encode writes the statement for the locks of f.
func (f *sending) encode(e *encoder) ([]byte, error) {
	first := &f.entries[0]
	wait := f.kind == kindLocks && first.op == OpWait
	f.single = wait || len(f.entries) == 1 && !f.shared
	switch {
	case wait:
		f.plain = e.plainWait
		return e.wait(first)
	case !f.single && f.kind == kindSettle:
		return e.batch(f.shared, f.entries, nil)
	case !f.single:
		return e.batch(f.shared, f.entries[:f.unlocks], f.entries[f.unlocks:])
	case f.kind == kindSettle || first.op == OpUnlock:
		return e.int8(&unlockStatement, first.id)
	default:
		return e.int8(&tryStatement, first.id)
	}
}

// receive adds one message to the answer, and reports whether the answer is complete.
func (f *sending) receive(message pgproto3.BackendMessage) (complete bool) {
	switch m := message.(type) {
	case *pgproto3.DataRow:
		f.rows++
		f.row(m.Values)
	case *pgproto3.ErrorResponse:
		f.err = serverError(pgconn.ErrorResponseToPgError(m))
	case *pgproto3.CommandComplete:
		f.completed = f.completed || string(m.CommandTag) != "ROLLBACK" && string(m.CommandTag) != "SELECT 0" // which scope.again has
	case *pgproto3.ParseComplete, *pgproto3.BindComplete, *pgproto3.CloseComplete, *pgproto3.EmptyQueryResponse, *pgproto3.RowDescription:
	case *pgproto3.ReadyForQuery:
		unsaid := f.kind == kindPing || f.kind == kindBack && f.err != nil // it is sent again, or ends the session
		if !unsaid && !f.scope.mayEnd(m.TxStatus, f.err != nil) {
			f.broken = fmt.Errorf("the session is inside a transaction, or is not inside of its own (status %q)", m.TxStatus)
		}
		f.skipped = f.err != nil && sqlState(f.err) == "25P02"
		f.check()
		return true
	default:
		f.broken = fmt.Errorf("unexpected message %T", message)
	}
	return false
}

func (f *sending) row(values [][]byte) {
	switch f.kind {
	case kindAsk:
		if len(values) == 1 {
			f.identity = string(values[0])
		}
	case kindWho:
		f.whoRow(values)
	case kindHint, kindEnd, kindPing: // pg_notify and pg_advisory_unlock_all return void
	case kindLend, kindBack:
		if len(values) == 1 {
			f.text = string(values[0])
		}
	case kindLocks, kindSettle:
		f.lockRow(values)
	}
}

// lockRow reads what came of locks. A row of another form adds nothing, and check finds that something is missing.
func (f *sending) lockRow(values [][]byte) {
	unlocks := f.unlocks
	if f.kind == kindSettle {
		unlocks = len(f.entries)
	}
	switch {
	case !f.single:
		if len(values) == 2 && len(values[0]) == unlocks { // null where there was no id of that kind
			f.letters = append(append(f.letters, values[0]...), values[1]...)
		}
	case len(values) != 1:
	case values[0] == nil:
		f.letters = append(f.letters, standbyLetter)
	case f.kind == kindLocks && f.entries[0].op == OpWait:
		f.waitRow(string(values[0]))
	case len(values[0]) == 1 && values[0][0] <= 1: // a boolean in binary form
		f.letters = append(f.letters, "ft"[values[0][0]])
	}
}

// standbyLetter is the answer of a standby, which has not touched the lock.
const standbyLetter = 's'

// errStray ends a session of which a statement was answered by a standby.
var errStray = unsafeBecause("a standby has answered a statement for locks, and has not carried it out: a proxy balances reads over " +
	"standbys, statement by statement" + balanceCure)

// whoRow reads a row: a holder of a lock, or a waiter for it.
func (f *sending) whoRow(values [][]byte) {
	if len(values) != 6 {
		return
	}
	id, err := strconv.ParseInt(string(values[0]), 10, 64)
	if err != nil {
		return
	}
	if f.who == nil {
		f.who = make(map[int64]WhoAnswer)
	}
	a := f.who[id]
	switch granted := string(values[5]) == "true"; {
	case !granted:
		a.Waiters = true
	case a.Holder == nil:
		a.Holder = parseHolder(values[1:])
	}
	f.who[id] = a
}

// waitRow reads the answer to a wait: a letter, or nothing to a plain one. pg_advisory_lock returns void, and that it returned is
// the answer.
func (f *sending) waitRow(text string) {
	switch {
	case f.plain && text == "":
		f.letters = append(f.letters, 't')
	case !f.plain && (text == "t" || text == "f"):
		f.letters = append(f.letters, text[0])
	}
}

// check refuses an answer of another form than was asked for: a server that answers so keeps no locks that we know.
func (f *sending) check() {
	if f.err != nil || f.broken != nil || f.kind != kindLocks && f.kind != kindSettle {
		return
	}
	if f.rows != 1 || len(f.letters) != len(f.entries) || !f.completed {
		f.broken = fmt.Errorf("%d rows with %d answers came for %d locks", f.rows, len(f.letters), len(f.entries))
		return
	}
	for _, letter := range f.letters {
		if letter == standbyLetter {
			f.broken = errStray
			return
		}
		if letter != 't' && letter != 'f' {
			f.broken = errors.New("an answer is neither true nor false")
			return
		}
	}
	for i, letter := range f.letters {
		f.entries[i].ok = letter == 't'
	}
}

// grants reports whether the statement took the lock on id.
func (f *sending) grants(id int64) bool {
	return slices.ContainsFunc(f.entries[f.unlocks:], func(e entry) bool { return e.id == id && e.ok })
}

// released reports whether every unlock of the statement found its lock.
func (f *sending) released() bool {
	for i := range f.unlocks {
		if !f.entries[i].ok {
			return false
		}
	}
	return true
}

// granted is how many locks the statement took.
func (f *sending) granted() (n int) {
	for i := range f.entries {
		if e := &f.entries[i]; e.ok && e.op != OpUnlock {
			n++
		}
	}
	return n
}

// repeatedTry finds an id that two tries of the statement ask for. A small table of hash bits nearly always says at once that
// there is none.
func (f *sending) repeatedTry() (id int64, found bool) {
	tries := f.entries[f.unlocks:]
	if len(tries) < 2 {
		return 0, false
	}
	var seen [256]uint64
	for i := range tries {
		id := tries[i].id
		hash := uint64(id) * 0x9E3779B97F4A7C15 >> 50 // 14 bits, one for each bit of the table
		if seen[hash/64]&(1<<(hash%64)) != 0 {
			for j := range i {
				if tries[j].id == id {
					return id, true
				}
			}
		}
		seen[hash/64] |= 1 << (hash % 64)
	}
	return 0, false
}

func parseHolder(values [][]byte) *Holder {
	pid, _ := strconv.ParseUint(string(values[0]), 10, 32)
	h := &Holder{PID: uint32(pid), ApplicationName: string(values[1]), ClientAddr: string(values[2])}
	if since, err := strconv.ParseInt(string(values[3]), 10, 64); err == nil {
		h.SessionSince = time.UnixMicro(since)
	}
	return h
}
