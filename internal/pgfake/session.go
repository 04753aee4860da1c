package pgfake

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Session is the server's side of a connection. Receive may be called by another goroutine than the other methods.
type Session struct {
	PID uint32
	// Settings are the values of parameters. Where Fixed is set there are no others, else any can be set.
	Settings map[string]string
	Fixed    bool
	InBlock  bool // a transaction block

	sql   map[string]string // of prepared statements
	batch *Request
}

// Facts are what all sessions of a server answer alike.
type Facts struct {
	Version, Start, Timeline, Recovery, Database string
}

// Locks are what the statements of a session do to locks.
type Locks interface {
	Try(l Lock) bool
	TryXact(id int64) bool
	// Unlock answers false where the session has not the lock, or has it in the other mode.
	Unlock(l Lock) bool
	// Notify tells all sessions that listen, the sender too.
	Notify(text string)
	Listen()
	// EndXact releases what TryXact has locked.
	EndXact()
}

// Lock is what is asked for: an id, and the mode.
type Lock struct {
	ID     int64
	Shared bool
}

func (l Lock) String() string {
	if l.Shared {
		return strconv.FormatInt(l.ID, 10) + " shared"
	}
	return strconv.FormatInt(l.ID, 10)
}

// Request is what a client sent until it waits for the answer.
type Request struct {
	Statements []*Statement
	parts      []part
}

// part is a message, and the statement that it is about, where there is one.
type part struct {
	message pgproto3.FrontendMessage
	about   *Statement
}

// Receive takes a client's message, and returns the request that it completes, if it does: a simple query, or a Sync.
func (s *Session) Receive(m pgproto3.FrontendMessage) *Request {
	if s.batch == nil {
		s.batch = &Request{}
	}
	r := s.batch
	switch m := m.(type) {
	case *pgproto3.Parse:
		if s.sql == nil {
			s.sql = map[string]string{}
		}
		s.sql[m.Name] = m.Query
		r.parts = append(r.parts, part{message: &pgproto3.Parse{}})
	case *pgproto3.Bind:
		q := newStatement(m.PreparedStatement, s.sql[m.PreparedStatement], m)
		r.Statements = append(r.Statements, q)
		r.parts = append(r.parts, part{message: &pgproto3.Bind{}, about: q})
	case *pgproto3.Describe:
		p := part{message: &pgproto3.Describe{ObjectType: m.ObjectType}}
		if m.ObjectType == 'P' {
			p.about = r.Last()
		}
		r.parts = append(r.parts, p)
	case *pgproto3.Execute:
		r.parts = append(r.parts, part{message: &pgproto3.Execute{}, about: r.Last()})
	case *pgproto3.Query:
		q := newSimple(m.String)
		r.Statements = append(r.Statements, q)
		r.parts = append(r.parts, part{message: &pgproto3.Query{}, about: q})
		s.batch = nil
		return r
	case *pgproto3.Sync:
		s.batch = nil
		return r
	}
	return nil
}

// Last is the statement that was bound last, nil where there is none.
func (r *Request) Last() *Statement {
	if len(r.Statements) == 0 {
		return nil
	}
	return r.Statements[len(r.Statements)-1]
}

// Answer is the answer to a request whose statements have been done, without its end. After an error nothing follows.
func (r *Request) Answer() (out []pgproto3.BackendMessage) {
	for _, p := range r.parts {
		switch m := p.message.(type) {
		case *pgproto3.Parse:
			out = append(out, &pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			out = append(out, &pgproto3.BindComplete{})
		case *pgproto3.Describe:
			switch {
			case m.ObjectType == 'S':
				out = append(out, &pgproto3.ParameterDescription{}, &pgproto3.NoData{})
			case p.about.Code == "":
				out = append(out, p.about.description())
			}
		default:
			if out = append(out, p.about.answer()...); p.about.Code != "" {
				return out
			}
		}
	}
	return out
}

// Welcome is what a server says after a start-up message without a password. Some proxies send no key.
func (s *Session) Welcome(key bool) []pgproto3.BackendMessage {
	out := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "15.0"}}
	if key {
		out = append(out, &pgproto3.BackendKeyData{ProcessID: s.PID, SecretKey: make([]byte, 4)})
	}
	return append(out, s.Ready())
}

// LastWord is what a server says before it hangs up.
func LastWord(code string) pgproto3.BackendMessage {
	message := lastWords[code]
	if message == "" {
		message = "not now"
	}
	return &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: message}
}

// lastWords are PostgreSQL's texts.
var lastWords = map[string]string{
	"57P01": "terminating connection due to administrator command", "57P03": "the database system is starting up", "53300": "sorry, too many clients already",
}

// Ready is the end of an answer.
func (s *Session) Ready() *pgproto3.ReadyForQuery {
	if s.InBlock {
		return &pgproto3.ReadyForQuery{TxStatus: 'T'}
	}
	return &pgproto3.ReadyForQuery{TxStatus: 'I'}
}

// began is when each session began, in microseconds.
const began = "1700000001500000"

// Identity is what the session answers to a health question.
func (s *Session) Identity(f Facts) string {
	return fmt.Sprintf("%d %s %s "+began+" %s", s.PID, f.Recovery, f.Start, f.Database)
}

// parameters are how many a statement of a kind has at least.
var parameters = map[string]int{Set: 2, ReadBack: 1, NameSession: 1, Try: 1, TryXact: 1, Unlock: 1, Batch: 2, Notify: 1}

// Do does a statement, and reports whether it knows how: a wait, the list of holders and what poolers are for are the
// user's.
func (s *Session) Do(q *Statement, f Facts, locks Locks) bool {
	if len(q.Params) < parameters[q.Kind] { // another statement, with a part of that one's text
		return false
	}
	switch q.Kind {
	case Set, ReadBack:
		s.set(q)
	case NameSession:
		if value, known := s.Settings["application_name"]; known && value == "" {
			s.Settings["application_name"] = string(q.Params[0])
		}
	case Ask:
		q.Text(s.Identity(f))
	case WhoAmI:
		q.Text(fmt.Sprintf("%d %s", s.PID, f.Start))
	case PID:
		q.Text(strconv.Itoa(int(s.PID)))
	case DatabaseName:
		q.Text(hex.EncodeToString([]byte(f.Database)))
	case Timeline:
		q.Text(f.Timeline)
	case Version:
		q.Text(f.Version)
	case Recovery:
		q.Text(f.Recovery)
	case ReadOnly:
		q.Text("off")
	case Begin, Rollback:
		s.InBlock = q.Kind == Begin
		locks.EndXact()
	case Try:
		q.Bool(locks.Try(q.Lock()))
	case TryXact:
		q.Bool(locks.TryXact(q.ID()))
		if !s.InBlock {
			locks.EndXact()
		}
	case Unlock:
		q.Bool(locks.Unlock(q.Lock()))
	case Batch:
		q.Rows = append(q.Rows, [][]byte{letters(q.Unlocks(), locks.Unlock), letters(q.Locks(), locks.Try)})
	case Notify:
		locks.Notify(string(q.Params[0]))
		q.Text("")
	case Listen:
		locks.Listen()
	default:
		return false
	}
	return true
}

// Notification is what a session that listens is told.
func Notification(text string) pgproto3.BackendMessage {
	return &pgproto3.NotificationResponse{PID: 1, Channel: "lockkeeper", Payload: text}
}

// set answers with the settings that there are, after it has given them new values if asked to.
func (s *Session) set(q *Statement) {
	q.Columns = 2
	for i, name := range texts(q.Params[0]) {
		_, known := s.Settings[name]
		if q.Kind == Set && (known || !s.Fixed) {
			if s.Settings == nil {
				s.Settings = map[string]string{}
			}
			s.Settings[name], known = texts(q.Params[1])[i], true
		}
		if known {
			q.Text(name, s.Settings[name])
		}
	}
}

func letters(locks []Lock, do func(Lock) bool) (all []byte) {
	for _, l := range locks {
		all = append(all, Letter(do(l))...)
	}
	return all
}

// Encode is messages as bytes.
func Encode(messages ...pgproto3.BackendMessage) (raw []byte) {
	for _, m := range messages {
		raw, _ = m.Encode(raw) // into memory, of messages that we made
	}
	return raw
}
