package pg

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// connected is a connection that has been set up and is ours alone.
type connected struct {
	conn     net.Conn
	front    *pgproto3.Frontend
	pid      uint32
	identity string
	lineage  lineage
	asked    time.Time // when the identity was asked for
	answered time.Time
}

// maxMessage bounds what room is made for one message: its length is what the other side says, and ours are short. A
// longer one ends the session.
const maxMessage = 1 << 20

// setting is one that every session sets for itself: with SET after connecting, since poolers refuse unknown start-up
// parameters and a server that does not know one would refuse the connection.
type setting struct {
	name  string
	value string // in the setting's base unit, as pg_settings shows it
	tcp   bool   // no meaning on a unix socket
	// without is what it means that a server does not know it; empty where that is no harm.
	without string
}

func (c *Config) settings() []setting {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	seconds := func(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }
	const probes = 3
	interval := seconds((c.SessionTimeout - c.Trust()) / probes)
	return []setting{
		// The role's or the database's own limits would end a wait, or the session with all its locks, when they please.
		{name: "statement_timeout", value: "0"},
		{name: "idle_in_transaction_session_timeout", value: "0"},
		{name: "transaction_timeout", value: "0"}, // since 17; before, there is no such limit
		// One slice of waiting; see Config.WaitSlice. Nothing else that we send waits for a lock.
		{name: "lock_timeout", value: ms(c.WaitSlice), without: "a wait for a lock pins what vacuum could clean"},
		// The only one that frees a lock whose holder is frozen, or whose middlebox still acknowledges. Since 14.
		{name: "idle_session_timeout", value: ms(c.SessionTimeout), without: "a frozen client keeps its locks until it is " +
			"killed, and one behind a middlebox that goes on acknowledging for as long as that does"},
		// Without it a waiter whose client died stays in the queue and is granted the lock. Since 14.
		{name: "client_connection_check_interval", value: "1000", without: "a waiter whose client died stays in the queue " +
			"until its slice is over, and may be granted the lock meanwhile"},
		// A silent partition is seen by keepalives while idle, and by the user timeout once an answer is not
		// acknowledged, which switches the keepalives off: both are needed. None ends a session before SessionTimeout.
		{name: "tcp_keepalives_idle", value: strconv.Itoa(seconds(c.Trust())), tcp: true},
		{name: "tcp_keepalives_interval", value: strconv.Itoa(interval), tcp: true},
		{name: "tcp_keepalives_count", value: strconv.Itoa(probes), tcp: true},
		{name: "tcp_user_timeout", value: ms(c.SessionTimeout), tcp: true},
		// The statements are few and always the same: planning them anew for their parameters gains nothing.
		{name: "plan_cache_mode", value: "force_generic_plan"},
	}
}

// connect opens a connection, sets it up and takes it out of pgx's hands.
func (p *Pool) connect(ctx context.Context) (*connected, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.ConnectTimeout)
	defer cancel()
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, connectError(err, "")
	}
	c, err := p.prepare(ctx, conn)
	if err != nil {
		closeConn(conn, p.config.CloseTimeout)
		return nil, connectError(err, "")
	}
	return c, nil
}

// closeConn closes a connection that is still pgx's. After a failure pgx does so by itself, and gives a server that
// hangs 15 s; here it has the timeout, and a moment more where pgx is busy elsewhere.
func closeConn(conn *pgconn.PgConn, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout) //nolint:forbidigo // cleanup: whatever ctx was is over
	defer cancel()
	_ = conn.Close(ctx)
	select {
	case <-conn.CleanupDone():
		return
	case <-ctx.Done():
	}
	closeSocket(conn.Conn())
	moment := time.NewTimer(timeout)
	defer moment.Stop()
	select {
	case <-conn.CleanupDone():
	case <-moment.C:
	}
}

// closeSocket closes a connection below its TLS layer: that one sends a farewell, and can wait for it.
func closeSocket(conn net.Conn) {
	if layered, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = layered.NetConn()
	}
	_ = conn.Close()
}

func (p *Pool) prepare(ctx context.Context, conn *pgconn.PgConn) (*connected, error) {
	if err := p.set(ctx, conn); err != nil {
		return nil, err
	}
	pipeline := conn.StartPipeline(ctx)
	for _, s := range statements {
		pipeline.SendPrepare(s.name, s.sql, s.params)
	}
	if err := errors.Join(pipeline.Sync(), pipeline.Close()); err != nil {
		if server, ok := errors.AsType[*pgconn.PgError](err); ok && server.Code == "42P05" {
			return nil, unsafeBecause("a proxy hands out sessions with what an earlier client left in them, our own " +
				"statements and so locks as well; let it reset them (server_reset_query = DISCARD ALL)")
		}
		return nil, fmt.Errorf("preparing the statements: %w", err)
	}
	c := &connected{}
	var err error
	if c.lineage, err = askLineage(ctx, conn); err != nil {
		return nil, err
	}
	c.asked = time.Now()
	identity, err := queryText(ctx, conn, askStatement.sql)
	if err != nil {
		return nil, fmt.Errorf("asking the server who it is: %w", err)
	}
	c.answered, c.identity = time.Now(), identity
	words := strings.Fields(identity)
	if len(words) < 2 {
		return nil, fmt.Errorf("%w: the server does not say which backend answers", ErrUnsafe)
	}
	if words[1] != "f" {
		return nil, fmt.Errorf("%w: the server is a standby, whose locks exclude nobody on the primary; connect to the "+
			"primary (target_session_attrs=read-write)", ErrUnsafe)
	}
	pid, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil || pid == 0 {
		return nil, fmt.Errorf("%w: the server does not say which backend answers", ErrUnsafe)
	}
	if _, place, _ := strings.Cut(identity, words[2]+" "); len(words) > 2 && !strings.HasPrefix(place, p.database+" ") {
		return nil, unsafeBecause("the sessions of one manager must all be in one database, which is %q: %q answered "+
			"(database and role)", p.database, place)
	}
	c.pid = uint32(pid)
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	c.conn, c.front = hijacked.Conn, hijacked.Frontend
	c.front.SetMaxBodyLen(maxMessage)
	return c, c.conn.SetDeadline(time.Time{})
}

// The join leaves out what this server does not know, before set_config would fail on it.
const setSQL = `SELECT v.name, pg_catalog.set_config(v.name, v.value, false)
 FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS v(name, value)
 JOIN pg_catalog.pg_settings AS s ON s.name OPERATOR(pg_catalog.=) v.name`

const readBackSQL = `SELECT s.name, s.setting FROM pg_catalog.pg_settings AS s
 WHERE s.name OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])`

// set makes the session's settings and reads them back. What a server is too old for, or refuses, is told once and does
// not stop the session: it then has the best that this server can do.
func (p *Pool) set(ctx context.Context, conn *pgconn.PgConn) error {
	settings := p.config.settings()
	if name := p.config.ApplicationName; name != "" {
		settings = append(settings, setting{name: "application_name", value: name})
	} else if conn.ParameterStatus("application_name") == "" {
		settings = append(settings, setting{name: "application_name", value: defaultApplication})
	}
	refused := make(map[string]string)
	if _, err := query(ctx, conn, setSQL, names(settings), values(settings)); err != nil {
		if conn.IsClosed() {
			return fmt.Errorf("making the session's settings: %w", err)
		}
		for i := range settings { // one of them it does not like: find out which
			if _, err := query(ctx, conn, setSQL, names(settings[i:i+1]), values(settings[i:i+1])); err != nil {
				if conn.IsClosed() {
					return fmt.Errorf("making the session's settings: %w", err)
				}
				refused[settings[i].name] = connectError(err, "").Error()
			}
		}
	}
	rows, err := query(ctx, conn, readBackSQL, names(settings))
	if err != nil {
		return fmt.Errorf("reading the session's settings back: %w", err)
	}
	have := make(map[string]string, len(rows))
	for _, row := range rows {
		have[string(row[0])] = string(row[1])
	}
	_, unix := conn.Conn().RemoteAddr().(*net.UnixAddr)
	for _, s := range settings {
		value, known := have[s.name]
		switch {
		case refused[s.name] != "":
		case !known && s.name == "transaction_timeout":
		case !known:
			refused[s.name] = "this server does not know it"
			if s.without != "" {
				refused[s.name] += ": " + s.without
			}
		case value != s.value && !(s.tcp && unix) && s.name != "application_name": // a name is cut to 63 bytes
			refused[s.name] = fmt.Sprintf("set to %s, reads %s", s.value, value)
		}
	}
	p.noteRefused(refused)
	return p.leaseHolds(have["idle_session_timeout"])
}

// leaseHolds refuses a session which the server ends before its holder can know.
func (p *Pool) leaseHolds(idleSessionTimeout string) error {
	limit, err := strconv.ParseInt(idleSessionTimeout, 10, 64)
	if err != nil || limit == 0 || limit > p.config.Trust().Milliseconds() { // none, or later than that
		return nil //nolint:nilerr // an older server has no such limit
	}
	return unsafeBecause("the server ends a session after %d ms of silence and takes no other idle_session_timeout, while its "+
		"holder would believe in it for %v: lower the health interval and timeout (WithHealth) so that their sum is less, or "+
		"take that limit away", limit, p.config.Trust())
}

func (p *Pool) noteRefused(refused map[string]string) {
	if !p.refused.CompareAndSwap(nil, &refused) {
		return
	}
	for name, why := range refused {
		p.config.Event(Event{Kind: EventRefused, Cause: name + ": " + why})
	}
}

func names(settings []setting) []byte {
	return textArray(settings, func(s setting) string { return s.name })
}
func values(settings []setting) []byte {
	return textArray(settings, func(s setting) string { return s.value })
}

// textArray is text[] in its text form; backslash and quote are its only special characters inside quotes.
func textArray(settings []setting, of func(setting) string) []byte {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var b strings.Builder
	for i, s := range settings {
		b.WriteString([...]string{"{", ","}[min(i, 1)])
		b.WriteString(`"` + escape.Replace(of(s)) + `"`)
	}
	return []byte(b.String() + "}")
}

func query(ctx context.Context, conn *pgconn.PgConn, sql string, params ...[]byte) ([][][]byte, error) {
	result := conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
	return result.Rows, result.Err
}

func queryText(ctx context.Context, conn *pgconn.PgConn, sql string, params ...[]byte) (string, error) {
	rows, err := query(ctx, conn, sql, params...)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return "", fmt.Errorf("%d rows where one value was expected", len(rows))
	}
	return string(rows[0][0]), nil
}
