package pg

import (
	"fmt"
	"time"
)

// Config says how sessions are kept. The zero value of a field means its default.
type Config struct {
	// ApplicationName is what pg_stat_activity shows for every session. Default: the connection's own, else "lockkeeper".
	ApplicationName string
	// Database is the name that the server itself must have for the database: locks of two databases do not meet. Default:
	// the one that the connection asks for. It is for poolers whose own name for it is another.
	Database string
	// InTransaction has each session always be in a transaction, during which a pooler in transaction mode keeps its backend for it.
	InTransaction bool
	// HealthInterval is how often each session is asked who it is. Default 5 s.
	HealthInterval time.Duration
	// HealthTimeout is how long an answer may take. Default 2 s. HealthInterval + HealthTimeout is the trust: how long a
	// session that has stopped answering is believed in, counted from the send time of its last answered round trip.
	HealthTimeout time.Duration
	// SessionTimeout is after how much silence the server ends a session (idle_session_timeout and the TCP settings).
	// It must be longer than the trust, else a lock is free before its holder hears. Default: twice the trust.
	SessionTimeout time.Duration
	// WaitSlice bounds one wait in the server's queue. A backend that waits holds a snapshot, which stops vacuum and
	// CREATE INDEX CONCURRENTLY; between two slices it has none. Default 0.8 s, which is below deadlock_timeout: a server with
	// log_lock_waits logs waits that last longer. It is never more than HealthInterval, so that what is granted at the end of a
	// slice still has the whole HealthTimeout of trust left.
	WaitSlice time.Duration
	// ConnectTimeout is how long one answer may take while a session is opened. Default: the source's own connect_timeout, else 5 s.
	ConnectTimeout time.Duration
	// CloseTimeout bounds the wait for the server to confirm the end of a session; where a wait is under way on it, after its slice.
	// Default 1 s.
	CloseTimeout time.Duration
	// IdleTime is after how long an unused session is closed. Default 30 s, and never as long as SessionTimeout.
	IdleTime time.Duration
	// SharedSessions is the most sessions that hold many locks each. Default 4. When all of them hold a thousand and more
	// there is one beside them for locks that come one at a time.
	SharedSessions int
	// WaitingSessions is the most sessions that wait in the server's queue. Default 16.
	WaitingSessions int
	// MaxSessions bounds all sessions together, dedicated ones included. Default 64.
	MaxSessions int
	// MaxLocksPerSession bounds the locks on one shared session, and with SharedSessions those of a program: the server's
	// lock table is everybody's, and one lost session loses all of its locks. Default 100,000.
	MaxLocksPerSession int
	// Event, where set, is told of what is worth a human's eye. It is called on owners and must not block.
	Event func(Event)

	scope *scope // by InTransaction
}

// EventKind says what an [Event] is about.
type EventKind string

// The events of a pool.
const (
	EventOpened  EventKind = "session opened"
	EventLost    EventKind = "session lost"
	EventFailed  EventKind = "session could not be opened"
	EventRefused EventKind = "setting refused by the server"
)

// Event is something that happened to a session. It never holds a secret.
type Event struct {
	Kind  EventKind
	PID   uint32
	Use   Use
	Locks int // held when it happened
	// Timeline of the server on which a session was opened; 0 where it does not tell. A higher one than before says that
	// a standby has been promoted.
	Timeline uint32
	Cause    string
	Err      error
}

const (
	defaultInterval        = 5 * time.Second
	defaultTimeout         = 2 * time.Second
	defaultSlice           = 800 * time.Millisecond
	defaultConnectTimeout  = 5 * time.Second
	defaultCloseTimeout    = time.Second
	defaultIdleTime        = 30 * time.Second
	defaultSharedSessions  = 4
	defaultWaitingSessions = 16
	defaultMaxSessions     = 64
	defaultMaxLocks        = 100_000
	defaultApplication     = "lockkeeper"
	maxDrainDelay          = 250 * time.Millisecond
	// What a server setting can say in whole milliseconds, and PostgreSQL's own upper limit for them (INT_MAX).
	minDuration = 10 * time.Millisecond
	maxDuration = (1<<31 - 1) * time.Millisecond
)

// Trust is how long a session that has stopped answering is believed in.
func (c *Config) Trust() time.Duration { return c.HealthInterval + c.HealthTimeout }

// drainDelay is how long a session that is given up here, while the server may well have it, stays connected after those who
// hold locks on it were told: hanging up is what frees the locks then. It is a part of the time that the server would have
// let pass by itself.
func (c *Config) drainDelay() time.Duration {
	return min((c.SessionTimeout-c.Trust())/4, maxDrainDelay)
}

// idleLimit is how long a session stays open that holds nothing and is asked for nothing. It asks nothing of the server
// meanwhile, so it ends before the server would end it.
func (c *Config) idleLimit() time.Duration {
	return min(c.IdleTime, (c.Trust()+c.SessionTimeout)/2)
}

// WithDefaults fills the zero fields in and checks the rest. The error names the manager's option.
func (c *Config) WithDefaults() (Config, error) {
	out := *c
	return out, out.complete()
}

func (c *Config) complete() error {
	if c.Event == nil {
		c.Event = func(Event) {}
	}
	durations := []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"WithHealth interval", &c.HealthInterval, defaultInterval},
		{"WithHealth timeout", &c.HealthTimeout, defaultTimeout},
		{"WithWaitSlice", &c.WaitSlice, defaultSlice},
		{"WithConnectTimeout", &c.ConnectTimeout, defaultConnectTimeout},
		{"WithCloseTimeout", &c.CloseTimeout, defaultCloseTimeout},
		{"WithIdleTime", &c.IdleTime, defaultIdleTime},
	}
	for _, d := range durations {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < minDuration || *d.field > maxDuration {
			return fmt.Errorf("%s is %v: it must lie between %v and %v", d.name, *d.field, minDuration, maxDuration)
		}
	}
	if err := c.completeSessionTimeout(); err != nil {
		return err
	}
	c.WaitSlice = min(c.WaitSlice, c.HealthInterval)
	counts := []struct {
		name  string
		field *int
		value int
	}{
		{"WithSharedSessions", &c.SharedSessions, defaultSharedSessions},
		{"WithWaitingSessions", &c.WaitingSessions, defaultWaitingSessions},
		{"WithMaxSessions", &c.MaxSessions, defaultMaxSessions},
		{"WithMaxLocksPerSession", &c.MaxLocksPerSession, defaultMaxLocks},
	}
	for _, n := range counts {
		if *n.field == 0 {
			*n.field = n.value
		}
		if *n.field < 1 {
			return fmt.Errorf("%s is %d: it must be at least 1", n.name, *n.field)
		}
	}
	if c.MaxSessions < 2 {
		return fmt.Errorf("WithMaxSessions is %d: one session holds and one waits, so it must be at least 2", c.MaxSessions)
	}
	// A default gives way to a lower bound that the user set; at least one session is left for waiting.
	c.SharedSessions = min(c.SharedSessions, c.MaxSessions-1)
	c.WaitingSessions = min(c.WaitingSessions, c.MaxSessions-c.SharedSessions)
	c.scope = newScope(c)
	return nil
}

func (c *Config) completeSessionTimeout() error {
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 2 * c.Trust()
		if c.SessionTimeout > maxDuration {
			return fmt.Errorf("WithHealth has an interval and a timeout of %v together: the session timeout is twice that where WithSessionTimeout "+
				"does not set it, and must not be longer than %v", c.Trust(), maxDuration)
		}
	}
	if c.SessionTimeout > maxDuration {
		return fmt.Errorf("WithSessionTimeout is %v: it must not be longer than %v", c.SessionTimeout, maxDuration)
	}
	if c.SessionTimeout <= c.Trust() {
		return fmt.Errorf("WithSessionTimeout is %v: it must be longer than the sum of WithHealth (%v), "+
			"or the server frees a lock before its holder knows", c.SessionTimeout, c.Trust())
	}
	return nil
}
