package manager

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/pg"
)

// Config is all that can be set. Options change it; the zero value of a field means its default.
type Config struct {
	// Namespace is put in front of every key, so that programs which share a database can use the same names.
	Namespace string
	// Hash turns a key's name into its lock id. Default [hashing.FNV1a]. All programs that share locks need the same one.
	Hash hashing.Func
	// Retry is the policy for attempts; the default waits at once and allows ten failed attempts.
	Retry RetryPolicy
	// MaxWaiters bounds the callers that wait for one key in this process. Default 10,000.
	MaxWaiters int
	// MaxKeys bounds the keys in use at one time in this process. Default 1,000,000.
	MaxKeys int
	// QuantumTime and QuantumGrants bound how long, and how often, a lock is handed from one local waiter to the next
	// before other processes get their turn. Defaults 20 ms and 10,000.
	QuantumTime   time.Duration
	QuantumGrants int
	// KeeperLinger is how long an unused key keeps its keeper. Default 0.1 s.
	KeeperLinger time.Duration
	// Restarts in RestartWindow are allowed to a key's keeper; one more and the key is refused until the window has
	// passed. Defaults 5 and 10 s.
	Restarts      int
	RestartWindow time.Duration
	// Logger, where set, gets transitions worth a human's eye. A slow handler delays nothing: what does not fit is
	// dropped and counted.
	Logger *slog.Logger
	// Sessions says how sessions are kept.
	Sessions pg.Config

	hook func(id int64, step string) // tests only
}

// Option changes a [Config].
type Option func(*Config)

// WithNamespace sets [Config].Namespace.
func WithNamespace(namespace string) Option { return func(c *Config) { c.Namespace = namespace } }

// WithHash sets [Config].Hash.
func WithHash(f hashing.Func) Option { return func(c *Config) { c.Hash = f } }

// WithRetry sets [Config].Retry.
func WithRetry(p RetryPolicy) Option { return func(c *Config) { c.Retry = p } }

// WithApplicationName sets what pg_stat_activity shows, and what others see who are kept waiting.
func WithApplicationName(name string) Option {
	return func(c *Config) { c.Sessions.ApplicationName = name }
}

// WithDatabase sets the name that the server itself must have for the database. It is for poolers whose own name for it is
// another; see [Config].Sessions.
func WithDatabase(name string) Option { return func(c *Config) { c.Sessions.Database = name } }

// WithHealth sets how often each session is asked who it is, and how long it may take to answer. Their sum is how long a
// silent server is trusted; see [Config].Sessions.
func WithHealth(interval, timeout time.Duration) Option {
	return func(c *Config) { c.Sessions.HealthInterval, c.Sessions.HealthTimeout = interval, timeout }
}

// WithSessionTimeout sets after how much silence the server ends a session. It must exceed interval + timeout.
func WithSessionTimeout(d time.Duration) Option {
	return func(c *Config) { c.Sessions.SessionTimeout = d }
}

// WithWaitSlice sets how long one wait in the server's queue lasts before it lets go of its snapshot and asks again.
func WithWaitSlice(d time.Duration) Option { return func(c *Config) { c.Sessions.WaitSlice = d } }

// WithConnectTimeout bounds the opening of one session.
func WithConnectTimeout(d time.Duration) Option {
	return func(c *Config) { c.Sessions.ConnectTimeout = d }
}

// WithSharedSessions sets the most sessions that hold many locks each.
func WithSharedSessions(n int) Option { return func(c *Config) { c.Sessions.SharedSessions = n } }

// WithWaitingSessions sets the most sessions that wait in the server's queue.
func WithWaitingSessions(n int) Option { return func(c *Config) { c.Sessions.WaitingSessions = n } }

// WithMaxSessions bounds all sessions together.
func WithMaxSessions(n int) Option { return func(c *Config) { c.Sessions.MaxSessions = n } }

// WithMaxLocksPerSession bounds the locks on each shared session; beyond that, [ErrTooManyLocks].
func WithMaxLocksPerSession(n int) Option {
	return func(c *Config) { c.Sessions.MaxLocksPerSession = n }
}

// WithMaxWaiters sets [Config].MaxWaiters.
func WithMaxWaiters(n int) Option { return func(c *Config) { c.MaxWaiters = n } }

// WithMaxKeys sets [Config].MaxKeys.
func WithMaxKeys(n int) Option { return func(c *Config) { c.MaxKeys = n } }

// WithQuantum sets [Config].QuantumTime and QuantumGrants.
func WithQuantum(d time.Duration, grants int) Option {
	return func(c *Config) { c.QuantumTime, c.QuantumGrants = d, grants }
}

// WithKeeperLinger sets [Config].KeeperLinger.
func WithKeeperLinger(d time.Duration) Option { return func(c *Config) { c.KeeperLinger = d } }

// WithRestarts sets [Config].Restarts and RestartWindow.
func WithRestarts(n int, window time.Duration) Option {
	return func(c *Config) { c.Restarts, c.RestartWindow = n, window }
}

// WithLogger sets [Config].Logger.
func WithLogger(l *slog.Logger) Option { return func(c *Config) { c.Logger = l } }

const (
	defaultMaxWaiters    = 10_000
	defaultMaxKeys       = 1_000_000
	defaultQuantumTime   = 20 * time.Millisecond
	defaultQuantumGrants = 10_000
	defaultLinger        = 100 * time.Millisecond
	defaultRestarts      = 5
	defaultRestartWindow = 10 * time.Second
)

func (c *Config) complete() error {
	counts := []struct {
		name  string
		field *int
		value int
	}{
		{"MaxWaiters", &c.MaxWaiters, defaultMaxWaiters},
		{"MaxKeys", &c.MaxKeys, defaultMaxKeys},
		{"QuantumGrants", &c.QuantumGrants, defaultQuantumGrants},
		{"Restarts", &c.Restarts, defaultRestarts},
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
		{"QuantumTime", &c.QuantumTime, defaultQuantumTime},
		{"KeeperLinger", &c.KeeperLinger, defaultLinger},
		{"RestartWindow", &c.RestartWindow, defaultRestartWindow},
	}
	for _, d := range durations {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return fmt.Errorf("%s is %v: it must not be negative", d.name, *d.field)
		}
	}
	if strings.ContainsRune(c.Sessions.ApplicationName, 0) {
		return errors.New("ApplicationName holds a NUL, which PostgreSQL cannot store")
	}
	if c.Hash == nil {
		c.Hash = hashing.NamespacedFNV1a(c.Namespace)
	} else {
		c.Hash = hashing.Namespaced(c.Namespace, c.Hash)
	}
	if c.Retry.Attempts == 0 && c.Retry.Backoff == nil {
		c.Retry = defaultRetry()
	}
	return c.Retry.validate()
}

func (c *Config) directory(s actor.Store, failed func(actor.KeeperFailure)) actor.Config {
	return actor.Config{
		Store:     s,
		Limits:    actor.Limits{MaxWaiters: c.MaxWaiters, QuantumTime: c.QuantumTime, QuantumGrants: c.QuantumGrants},
		Intensity: actor.IntensityLimit{Restarts: c.Restarts, Window: c.RestartWindow},
		MaxKeys:   c.MaxKeys,
		Linger:    c.KeeperLinger,
		Failed:    failed,
		Hook:      c.hook,
	}
}
