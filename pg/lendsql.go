package pg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// The statements before and after a session is lent.

// lentSettings are for Lockkeeper's own statements. For a holder's they are as the role, the database and the connection say.
var lentSettings = []string{"statement_timeout", "lock_timeout", "transaction_timeout", "synchronous_commit", "plan_cache_mode"}

// lendSQL has the server end the session of a holder that has stopped: it is asked something more often than that while it is idle. The answer
// is what a client hears when it connects.
const lendSQL = `SELECT pg_catalog.concat_ws(' ', pg_catalog.set_config('idle_in_transaction_session_timeout', $1::pg_catalog.text, false),
 pg_catalog.current_setting('standard_conforming_strings'), pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('server_version_num'))`

// backSQL asks what a transaction has left: whether the session holds the lock, and has the statements to release it and to be asked.
var backSQL = `SELECT pg_catalog.concat_ws(' ',
 (SELECT pg_catalog.count(*) FROM ` + ownLock("'ExclusiveLock'", "$1", "$2") + `),
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements AS p WHERE p.name OPERATOR(pg_catalog.=) ANY ('{` +
	"lockkeeper_unlock,lockkeeper_ask" + `}'::pg_catalog.text[])))`

// lend writes the first statements of a loan.
func (e *encoder) lend(c *Config, taken []setting) ([]byte, error) {
	var commands []*command
	for _, s := range taken {
		if slices.Contains(lentSettings, s.name) {
			commands = append(commands, ask("RESET "+s.name))
		}
	}
	return e.flight(append(commands, ask(lendSQL, []byte(strconv.FormatInt(c.SessionTimeout.Milliseconds(), 10))))...)
}

// back writes the last statements of a loan, in one flight. The transaction is rolled back if it has not ended.
func (e *encoder) back(taken []setting, id int64, status byte) ([]byte, error) {
	var commands []*command
	if status != 'I' {
		commands = append(commands, ask("ROLLBACK"))
	}
	if len(taken) > 0 {
		var sets []string
		set := ask("")
		for i, s := range taken {
			sets = append(sets, fmt.Sprintf("pg_catalog.set_config('%s', $%d::pg_catalog.text, false)", s.name, i+1))
			set.params = append(set.params, []byte(s.value))
		}
		set.sql = "SELECT " + strings.Join(sets, ", ")
		commands = append(commands, set)
	}
	commands = append(commands, ask(backSQL, strconv.AppendUint(nil, uint64(id)>>32, 10), strconv.AppendUint(nil, uint64(uint32(id)), 10)))
	return e.flight(commands...)
}

// ping asks nothing: the server answers that it is ready. Unlike a statement it is no part of a transaction: it fixes no snapshot, and is
// answered in a transaction that has failed.
func (e *encoder) ping() (out []byte, err error) {
	e.out, err = (&pgproto3.Sync{}).Encode(e.out[:0])
	return e.out, err
}

// flight writes commands that are answered together.
func (e *encoder) flight(commands ...*command) ([]byte, error) {
	e.out = e.out[:0]
	for _, c := range commands {
		messages := []pgproto3.FrontendMessage{&pgproto3.Parse{Query: c.sql}, &pgproto3.Bind{Parameters: c.params}, &pgproto3.Execute{}}
		for _, m := range messages {
			var err error
			if e.out, err = m.Encode(e.out); err != nil {
				return nil, err
			}
		}
	}
	var err error
	e.out, err = (&pgproto3.Sync{}).Encode(e.out)
	return e.out, err
}

// greeting is what a server says to a client that has connected: the answer to lendSQL says how it is set.
func greeting(text string, pid uint32) ([]byte, error) {
	words := strings.Fields(text)
	if len(words) != 4 {
		return nil, fmt.Errorf("%q answered to what lends the session", text)
	}
	messages := []pgproto3.BackendMessage{
		&pgproto3.AuthenticationOk{},
		&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: words[1]},
		&pgproto3.ParameterStatus{Name: "client_encoding", Value: words[2]},
		&pgproto3.ParameterStatus{Name: "server_version", Value: versionText(words[3])},
		&pgproto3.BackendKeyData{ProcessID: pid, SecretKey: make([]byte, 4)},
		&pgproto3.ReadyForQuery{TxStatus: 'I'},
	}
	var out []byte
	for _, m := range messages {
		var err error
		if out, err = m.Encode(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// versionText is 15.3 for 150003.
func versionText(number string) string {
	n, err := strconv.Atoi(number)
	if err != nil {
		return number
	}
	return fmt.Sprintf("%d.%d", n/10000, n%10000)
}

// checkBack says what a transaction has done to the session that its lock is on; nil if nothing.
func checkBack(text string) error {
	switch held, prepared, _ := strings.Cut(text, " "); {
	case held == "0":
		return errUnlocked
	case held != "1":
		return fmt.Errorf("%q answered to what takes the session back", text)
	case prepared != "2":
		return errDeallocated
	}
	return nil
}
