package manager

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/pg"
)

// config is all that can be set. Options change it; the zero value of a field means its default.
type config struct {
	namespace     string
	hash          hashing.Func
	secondHash    hashing.Func // of WithHashes; nil if each key has one id
	retry         RetryPolicy
	maxWaiters    int
	maxKeys       int
	handOffTime   time.Duration
	handOffGrants int
	idleKeyTime   time.Duration
	notify        bool
	fencing       bool
	takeover      time.Duration
	restarts      int
	restartWindow time.Duration
	clockSkew     time.Duration
	logger        *slog.Logger
	observer      Observer
	sessions      pg.Config

	hook func(id int64, step string) // tests only
	now  func() time.Time            // likewise: a clock that is wrong
}

// Option changes how a manager works. One that is nil changes nothing.
type Option func(*config)

// WithNamespace puts a namespace in front of every key, so that programs which share a database can use the same names.
func WithNamespace(namespace string) Option { return func(c *config) { c.namespace = namespace } }

// WithHash sets how a key's name becomes its lock id. Default [hashing.FNV1a]. All programs that share locks need the same one;
// [WithHashes] is for changing it.
func WithHash(f hashing.Func) Option { return func(c *config) { c.hash, c.secondHash = f, nil } }

// WithRetry sets the policy for attempts. The default waits at once and allows ten failed attempts.
func WithRetry(p RetryPolicy) Option { return func(c *config) { c.retry = p } }

// WithApplicationName sets what pg_stat_activity shows for every session, and what an error tells of a holder. Default: the
// connection's own, else "lockkeeper".
func WithApplicationName(name string) Option {
	return func(c *config) { c.sessions.ApplicationName = name }
}

// WithDatabase sets the name that the server itself must have for the database: locks of two databases do not meet. Default: the
// one that the connection asks for. It is for poolers whose own name for it is another.
func WithDatabase(name string) Option { return func(c *config) { c.sessions.Database = name } }

// WithHealth sets how often each session that holds locks is asked who it is, and how long the answer may take. Their sum is
// how long a silent server is trusted. Defaults 5 s and 2 s.
func WithHealth(interval, timeout time.Duration) Option {
	return func(c *config) { c.sessions.HealthInterval, c.sessions.HealthTimeout = interval, timeout }
}

// WithSessionTimeout sets after how much silence the server ends a session. It must exceed interval + timeout of [WithHealth] by a tenth: what it is
// longer by makes up for clocks that do not run alike. Default: twice that, which is right while the server's clock runs up to twice as fast.
func WithSessionTimeout(d time.Duration) Option {
	return func(c *config) { c.sessions.SessionTimeout = d }
}

// WithWaitSlice sets how long one wait in the server's queue lasts before it ends its snapshot and queues again. Default 0.8 s:
// a server with log_lock_waits logs waits that last longer than its deadlock_timeout, a second. Close waits for one slice at most.
func WithWaitSlice(d time.Duration) Option { return func(c *config) { c.sessions.WaitSlice = d } }

// WithConnectTimeout bounds how long the server may take to answer while a session is opened. Default: the connect_timeout of the DSN,
// of the config or of the pgxpool; else 5 s.
func WithConnectTimeout(d time.Duration) Option {
	return func(c *config) { c.sessions.ConnectTimeout = d }
}

// WithCloseTimeout bounds the wait for the server to confirm the end of a session, after the slice of a wait that is under way on it.
// Default 1 s.
func WithCloseTimeout(d time.Duration) Option { return func(c *config) { c.sessions.CloseTimeout = d } }

// WithIdleTime sets after how long an unused session is closed. Until then nothing is asked of it. Default 30 s, and never as long
// as the session timeout.
func WithIdleTime(d time.Duration) Option { return func(c *config) { c.sessions.IdleTime = d } }

// WithSharedSessions sets the most sessions that hold many locks each. Default 4.
func WithSharedSessions(n int) Option { return func(c *config) { c.sessions.SharedSessions = n } }

// WithWaitingSessions sets the most sessions that wait in the server's queue. Default 16.
func WithWaitingSessions(n int) Option { return func(c *config) { c.sessions.WaitingSessions = n } }

// WithNotify has managers tell each other by NOTIFY when to try for a lock, instead of waiting for it in the server's queue: a contended key
// needs no session and holds no snapshot, and any number of keys wait on one connection. Locks are granted nearly in the order in which
// processes asked for them. All processes that contend should have it: who waits for one that has not waits in the server's queue after 0.1 s. By
// default each contended key waits in that queue, on a session of its own, at most as many as [WithWaitingSessions] says, in slices of
// [WithWaitSlice]: in strict order over all processes.
func WithNotify() Option { return func(c *config) { c.notify = true } }

// WithTransactionPooler has each session always be in a transaction, so that a pooler in transaction mode keeps the session's
// backend for it. Without it Open refuses such a pooler. It works on a direct connection as well. Each session takes a server connection of
// the pooler's for as long as it is open: as many as [WithSharedSessions] and [WithWaitingSessions] allow, by default 20, and one for each
// lock [WithDedicatedSession], [WithMaxSessions] in all. pg_stat_activity shows them as idle in transaction; an idle one holds no snapshot,
// no transaction id and no lock of a table, so that vacuum goes on, and no transaction is older than the interval of [WithHealth] where there are locks. The server ends a silent session by idle_in_transaction_session_timeout,
// set to [WithSessionTimeout]. Open fails where that setting is not taken, or the pooler does not keep the backend. A pooler's own limit
// of idle transactions must be longer than the interval of [WithHealth]. [WithNotify] is refused beside it: the server delivers no
// notification inside of a transaction.
func WithTransactionPooler() Option { return func(c *config) { c.sessions.InTransaction = true } }

// WithMaxSessions bounds all sessions together. Default 64.
func WithMaxSessions(n int) Option { return func(c *config) { c.sessions.MaxSessions = n } }

// WithMaxLocksPerSession bounds the locks on each shared session; beyond that, [ErrTooManyLocks]. Default 100,000.
func WithMaxLocksPerSession(n int) Option {
	return func(c *config) { c.sessions.MaxLocksPerSession = n }
}

// WithMaxWaiters bounds the callers that wait for one key in this process; beyond that, [ErrTooManyWaiters]. Default 10,000.
func WithMaxWaiters(n int) Option { return func(c *config) { c.maxWaiters = n } }

// WithMaxKeys bounds the keys in use at one time in this process; beyond that, [ErrTooManyKeys]. Default 1,000,000.
func WithMaxKeys(n int) Option { return func(c *config) { c.maxKeys = n } }

// WithHandOffLimit bounds how long, and how often, a lock is handed from one local waiter to the next before other processes
// get their turn. Defaults 20 ms and 10,000.
func WithHandOffLimit(d time.Duration, grants int) Option {
	return func(c *config) { c.handOffTime, c.handOffGrants = d, grants }
}

// WithIdleKeyTime sets how long an unused key keeps its keeper's goroutine. Default 0.1 s.
func WithIdleKeyTime(d time.Duration) Option { return func(c *config) { c.idleKeyTime = d } }

// WithRestarts sets how many restarts a key's keeper may have within a window; one more, and the key is refused until the window
// has passed. Defaults 5 and 10 s.
func WithRestarts(n int, window time.Duration) Option {
	return func(c *config) { c.restarts, c.restartWindow = n, window }
}

// WithClockSkew sets the most that the clocks of two processes may differ by, for [Manager.Once]. Default 10 s.
func WithClockSkew(d time.Duration) Option { return func(c *config) { c.clockSkew = d } }

// WithLogger has transitions logged that are worth a human's eye. A slow handler delays nothing: what does not fit is dropped and
// counted.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.logger = l } }

const (
	defaultMaxWaiters    = 10_000
	defaultMaxKeys       = 1_000_000
	defaultHandOffTime   = 20 * time.Millisecond
	defaultHandOffGrants = 10_000
	defaultIdleKeyTime   = 100 * time.Millisecond
	defaultRestarts      = 5
	defaultRestartWindow = 10 * time.Second
	defaultClockSkew     = 10 * time.Second
)

// checkSessionTimeout refuses a timeout that a server with a slightly faster clock would end before the trust. Simulations, in which clocks run
// alike, have it tighter: they install fault points.
func (c *config) checkSessionTimeout() error {
	if c.hook != nil {
		return nil
	}
	sessions, err := c.sessions.WithDefaults()
	if least := sessions.Trust() + sessions.Trust()/10; err == nil && sessions.SessionTimeout < least {
		return fmt.Errorf("WithSessionTimeout is %v: it must be at least %v, a tenth more than the health interval and timeout together, since the "+
			"clocks of server and program may differ", sessions.SessionTimeout, least)
	}
	return nil // what is wrong otherwise is said where sessions are opened
}

func (c *config) complete() error {
	counts := []struct {
		name  string
		field *int
		value int
	}{
		{"WithMaxWaiters", &c.maxWaiters, defaultMaxWaiters},
		{"WithMaxKeys", &c.maxKeys, defaultMaxKeys},
		{"WithHandOffLimit grants", &c.handOffGrants, defaultHandOffGrants},
		{"WithRestarts", &c.restarts, defaultRestarts},
	}
	for _, n := range counts {
		if *n.field == 0 {
			*n.field = n.value
		}
		if *n.field < 1 {
			return fmt.Errorf("%s is %d: it must be at least 1", n.name, *n.field)
		}
	}
	durations := []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"WithHandOffLimit time", &c.handOffTime, defaultHandOffTime},
		{"WithIdleKeyTime", &c.idleKeyTime, defaultIdleKeyTime},
		{"WithRestarts window", &c.restartWindow, defaultRestartWindow},
		{"WithClockSkew", &c.clockSkew, defaultClockSkew},
	}
	for _, d := range durations {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return fmt.Errorf("%s is %v: it must not be negative", d.name, *d.field)
		}
	}
	if err := c.checkSessionTimeout(); err != nil {
		return err
	}
	if c.notify && c.sessions.InTransaction {
		return errors.New("WithNotify does not go with WithTransactionPooler: the server sends and delivers no notification inside of the " +
			"transaction that a session lives in; leave WithNotify out, and contended keys wait in the server's queue")
	}
	if strings.ContainsRune(c.sessions.ApplicationName, 0) {
		return errors.New("WithApplicationName holds a NUL, which PostgreSQL cannot store")
	}
	if !utf8.ValidString(c.sessions.ApplicationName) {
		return errors.New("WithApplicationName is no valid UTF-8, which PostgreSQL would refuse")
	}
	if c.now == nil {
		c.now = time.Now
	}
	if err := c.checkTakeover(); err != nil {
		return err
	}
	c.hash, c.secondHash = c.ids()
	if c.retry.Attempts == 0 && c.retry.Backoff == nil && !c.retry.PollFirst {
		c.retry = defaultRetry()
	}
	return c.retry.validate()
}

// ids computes the ids of keys, with the namespace. second is nil where each key has one.
func (c *config) ids() (first, second hashing.Func) {
	if c.secondHash != nil {
		second = hashing.Namespaced(c.namespace, c.secondHash)
	}
	return hashing.Namespaced(c.namespace, c.hash), second
}

func (c *config) supervisor(s actor.Store, failed func(actor.KeeperFailure)) actor.Config {
	return actor.Config{
		Store: s,
		Limits: actor.Limits{MaxWaiters: c.maxWaiters, HandOffTime: c.handOffTime, HandOffGrants: c.handOffGrants,
			Hints: c.notify},
		Intensity:   actor.IntensityLimit{Restarts: c.restarts, Window: c.restartWindow},
		MaxKeys:     c.maxKeys,
		IdleTimeout: c.idleKeyTime,
		Failed:      failed,
		Hook:        c.hook,
	}
}
