package pg

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// answer is PostgreSQL's part.
func (s *fakeSession) answer(q *question) {
	if meddle := s.server.meddler(); meddle != nil {
		meddle(s, q)
	}
	if q.answered || q.never {
		return
	}
	switch q.kind {
	case "set":
		s.set(q)
	case "read back":
		for _, name := range elements(q.params[0]) {
			if value, known := s.settings[name]; known {
				q.text(name, value)
			}
		}
		q.columns = 2
	case "ask":
		q.text(s.server.identity(s))
	case "who am I":
		q.text(strconv.Itoa(int(s.pid)) + " 2023-11-14")
	case "pid":
		q.text(strconv.Itoa(int(s.pid)))
	case "database":
		q.text(hex.EncodeToString([]byte("fake")))
	case "timeline":
		q.text(s.server.timeline)
	case "version":
		q.text(s.server.version)
	case "recovery":
		q.text(s.server.recovery)
	case "read only":
		q.text("off")
	case "begin", "rollback":
		s.inBlock = q.kind == "begin"
		s.endXact()
	case "discard", "reset role", "encoding":
	case "name the session":
		if value, known := s.settings["application_name"]; known && value == "" {
			s.settings["application_name"] = string(q.params[0])
		}
	case "try":
		q.bool(s.server.try(s, q.id()))
	case "try in transaction":
		granted := s.server.try(s, q.id())
		if granted {
			s.inXact = append(s.inXact, q.id())
		}
		if !s.inBlock {
			s.endXact()
		}
		q.bool(granted)
	case "unlock":
		q.bool(s.server.unlock(s, q.id()))
	case "wait":
		s.wait(q)
		if q.code == "55P03" || q.code == "57014" { // the block catches them
			q.code, q.rows = "", nil
			q.text("f")
		} else if q.code == "" {
			q.rows = nil
			q.text("t")
		}
	case "plain wait":
		s.wait(q)
	case "batch":
		q.rows = [][][]byte{{s.each(q.params[0], s.server.unlock), s.each(q.params[1], s.server.try)}}
	case "who":
		q.columns = 4
	default:
		q.code = "0A000"
	}
}

func (s *fakeSession) endXact() {
	for _, id := range s.inXact {
		s.server.unlock(s, id)
	}
	s.inXact = nil
}

func (s *fakeSession) set(q *question) {
	values := elements(q.params[1])
	for i, name := range elements(q.params[0]) {
		_, known := s.settings[name]
		if s.server.settings == nil || known {
			if s.settings == nil {
				s.settings = make(map[string]string)
			}
			s.settings[name] = values[i]
			q.text(name, values[i])
		}
	}
	q.columns = 2
}

func elements(array []byte) []string {
	return strings.Split(strings.Trim(string(array), `{}"`), `","`)
}

func (s *fakeSession) each(array []byte, f func(*fakeSession, int64) bool) []byte {
	var letters []byte
	for _, id := range arrayIDs(array) {
		letters = append(letters, map[bool]byte{true: 't', false: 'f'}[f(s, id)])
	}
	return letters
}

// arrayIDs reads int8[] in binary form.
func arrayIDs(array []byte) []int64 {
	if len(array) < 20 {
		return nil
	}
	var ids []int64
	for rest := array[20:]; len(rest) >= 12; rest = rest[12:] {
		ids = append(ids, int64(binary.BigEndian.Uint64(rest[4:])))
	}
	return ids
}

func (s *fakeSession) wait(q *question) {
	select {
	case <-s.canceled: // it came before there was something to cancel
	default:
	}
	id := q.id()
	w := s.server.enqueue(s, id)
	slice, err := strconv.Atoi(s.settings["lock_timeout"])
	if err != nil {
		slice = 1 << 30
	}
	timer := time.NewTimer(time.Duration(slice) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-w.granted:
	case <-timer.C:
		q.code = "55P03"
	case <-s.canceled:
		q.code = "57014"
	case <-s.gone:
		q.never = true
	}
	if q.code != "" && !s.server.leave(w, id) && (q.code == "55P03" || q.simple) {
		q.code = "" // granted in that moment
	}
	q.rows = [][][]byte{{{}}}
}

// say sends a message that nobody asked for.
func (s *fakeSession) say(m pgproto3.BackendMessage) error {
	raw, err := m.Encode(nil)
	if err != nil {
		return err
	}
	_, err = s.conn.Write(raw)
	return err
}
