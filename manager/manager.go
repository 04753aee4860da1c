package manager

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/internal/faultpoint"
	"github.com/lockkeeper/lockkeeper/internal/latency"
	"github.com/lockkeeper/lockkeeper/pg"
)

// Manager gives locks. One per program and database is enough; it must be closed.
type Manager struct {
	config    Config
	pool      *pg.Pool
	directory *actor.Directory
	log       journal
	waits     latency.Histogram
	refused   refusals

	registrations registrations // with the contexts of those who acquire
	closing       atomic.Bool
	closed        chan struct{} // closed when nothing of the manager is left
}

// Source is where a manager's connections come from.
type Source = pg.Source

// FromConfig takes connections by a configuration that pgx.ParseConfig made. It is copied.
func FromConfig(c *pgx.ConnConfig) (Source, error) { return pg.FromConfig(c) }

// FromPool takes connections out of the user's own pool, for good: one that may still hold a lock never goes back.
func FromPool(p *pgxpool.Pool) (Source, error) { return pg.FromPool(p) }

// FromDB takes connections out of a database/sql pool on pgx's stdlib driver, for good.
func FromDB(db *sql.DB) (Source, error) { return pg.FromDB(db) }

// Open connects to a server and makes sure that its locks can be relied on. The DSN is all that pgx parses: URL or
// key=value form, several hosts, TLS, service files, and the PG* variables where it is silent. It blocks for a few round
// trips on two connections (four behind a proxy); ctx bounds it. No error quotes the DSN. [ErrUnsafe] says that
// this server or proxy cannot keep a lock.
func Open(ctx context.Context, dsn string, opts ...Option) (*Manager, error) {
	source, err := pg.FromDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("lockkeeper: %w", err)
	}
	return New(ctx, source, opts...)
}

// New is [Open] on connections from elsewhere.
func New(ctx context.Context, source Source, opts ...Option) (*Manager, error) {
	if ctx == nil {
		return nil, fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	if source == nil {
		return nil, errors.New("lockkeeper: the source of connections is nil")
	}
	m := &Manager{closed: make(chan struct{}), registrations: registrations{seed: maphash.MakeSeed()}}
	m.config.hook = faultpoint.Installed()
	for _, opt := range opts {
		opt(&m.config)
	}
	if err := m.config.complete(); err != nil {
		return nil, fmt.Errorf("lockkeeper: %w", err)
	}
	m.config.Sessions.Event = m.log.session
	m.log.start(m.config.Logger)
	pool, err := pg.Open(ctx, source, m.config.Sessions)
	if err != nil {
		m.log.stop()
		return nil, fmt.Errorf("lockkeeper: %w", err)
	}
	m.pool = pool
	m.directory = actor.NewDirectory(m.config.directory(&store{pool: pool, start: time.Now()}, m.log.keeper))
	return m, nil
}

// Key is a key whose id has been computed, for hot paths. It is valid as long as its manager.
type Key struct {
	m    *Manager
	name string
	id   int64
}

// Key computes a key's id once.
func (m *Manager) Key(name string) Key { return Key{m: m, name: name, id: m.config.Hash(name)} }

// Name is the key's name, without the namespace.
func (k Key) Name() string { return k.name }

// ID is the lock's number at the server, as pg_locks shows it: the high half in classid, the low half in objid.
func (k Key) ID() int64 { return k.id }

// Acquire takes the lock, waiting for as long as somebody else holds it. See [Manager.Acquire].
func (k Key) Acquire(ctx context.Context, opts ...AcquireOption) (*Lock, error) {
	return k.m.acquire(ctx, k, false, opts)
}

// TryAcquire takes the lock if it is free. See [Manager.TryAcquire].
func (k Key) TryAcquire(ctx context.Context, opts ...AcquireOption) (*Lock, error) {
	return k.m.acquire(ctx, k, true, opts)
}

// Acquire takes the lock of a key, waiting for as long as somebody else holds it. ctx bounds the wait AND the hold: when
// it ends the lock is released. Local callers are served first come, first served. The error is an [*AcquireError]
// with the whole story. Any bytes are a legal key, of any length, but not none.
func (m *Manager) Acquire(ctx context.Context, key string, opts ...AcquireOption) (*Lock, error) {
	return m.acquire(ctx, m.Key(key), false, opts)
}

// TryAcquire takes the lock of a key if it is free, and answers [ErrNotAcquired] if not. It waits for one round trip at
// most, never for a holder. ctx bounds the hold as with Acquire.
func (m *Manager) TryAcquire(ctx context.Context, key string, opts ...AcquireOption) (*Lock, error) {
	return m.acquire(ctx, m.Key(key), true, opts)
}

// Do runs f while holding the lock. f's context ends when ctx does and when the lock is lost; f should return then.
// The error joins f's own with [ErrLost] where the lock was lost meanwhile: what f did may have overlapped. A panic in f
// passes through, after the lock has been released.
func (m *Manager) Do(ctx context.Context, key string, f func(ctx context.Context) error, opts ...AcquireOption) (err error) {
	lock, err := m.Acquire(ctx, key, opts...)
	if err != nil {
		return err
	}
	defer func() {
		// The lock's own end, not ctx, bounds the release: it must be tried when ctx has ended.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.pool.Trust())
		defer cancel()
		if release := lock.Release(bound); release != nil {
			err = errors.Join(err, release)
		}
	}()
	return f(lock.Context())
}

func (m *Manager) acquire(ctx context.Context, k Key, try bool, opts []AcquireOption) (*Lock, error) {
	if ctx == nil {
		return nil, fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	o := collect(opts)
	l := &Lock{parent: ctx}
	if err := m.terms(ctx, k, &o, &l.claim.Terms); err != nil {
		return nil, m.failure(k, &l.claim, err, 0)
	}
	l.claim.Try = try
	start := time.Now()
	l.claim.Init(m.directory)
	if ctx.Done() != nil {
		m.registrations.join(ctx, l)
		l.claim.Registration = &l.member
	}
	var timer *time.Timer
	if o.waitTimeout > 0 {
		timer = time.AfterFunc(o.waitTimeout, func() { l.claim.End(ErrWaitTimeout) })
	}
	m.directory.Submit(&l.claim)
	err := l.claim.Wait()
	waited := time.Since(start)
	m.waits.Record(waited)
	switch {
	case timer != nil && !timer.Stop() && err == nil:
		err = ErrWaitTimeout // it fired just as the lock was granted, and is releasing it
	case err == nil && o.detach:
		if l.claim.Registration != nil && !l.claim.Registration.Unregister() {
			err = contextReason(ctx) // likewise
			break
		}
		l.parent = context.WithoutCancel(ctx)
	case err == nil && ctx.Err() != nil:
		err = contextReason(ctx)
	}
	if err != nil {
		l.detach()
		if l.claim.Err == nil {
			l.claim.End(err) // granted all the same; the registration may have been taken back before it could say so
		}
		return nil, m.failure(k, &l.claim, err, waited)
	}
	return l, nil
}

// terms says what an acquisition asks for; the error says why there will be none.
func (m *Manager) terms(ctx context.Context, k Key, o *acquireOptions, t *actor.Terms) error {
	retry := &m.config.Retry
	if o.retry != nil {
		if err := o.retry.validate(); err != nil {
			return err
		}
		retry = o.retry
	}
	switch {
	case k.name == "":
		return ErrEmptyKey
	case o.waitTimeout < 0:
		return fmt.Errorf("WaitTimeout is %v: it must not be negative", o.waitTimeout)
	case ctx.Err() != nil:
		return contextReason(ctx)
	case m.closing.Load():
		return ErrClosed
	}
	t.Name, t.ID, t.Dedicated = k.name, k.id, o.dedicated
	t.PollFirst, t.MaxAttempts, t.NewBackoff = retry.PollFirst, retry.Attempts, retry.Backoff
	t.Deadline, _ = ctx.Deadline()
	if o.waitTimeout > 0 {
		if by := time.Now().Add(o.waitTimeout); t.Deadline.IsZero() || by.Before(t.Deadline) {
			t.Deadline = by
		}
	}
	return nil
}

// contextReason keeps both findable: what the context says, and the cause that its owner gave.
func contextReason(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		if cause != nil {
			return cause
		}
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

func (m *Manager) failure(k Key, c *actor.Claim, reason error, waited time.Duration) error {
	err := &AcquireError{Key: k.name, ID: k.id, Reason: reason, Attempts: c.Attempts, Waited: waited, Holder: c.Holder,
		Failures: c.Failures}
	m.refused.count(err)
	return err
}

// Close ends the manager: who waits gets [ErrClosed], who holds a lock finds its context ended with that cause, every
// lock is released, every connection closed. It waits until nothing is left, and is idempotent. When ctx ends first it
// returns an error, and the rest ends by itself within the health and connect timeouts.
func (m *Manager) Close(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	if m.closing.CompareAndSwap(false, true) {
		go m.close()
	}
	select {
	case <-m.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lockkeeper: closing is still under way: %w", contextReason(ctx))
	}
}

// close is bounded by the sessions' own deadlines: a server that does not answer is given up when trust in it ends.
func (m *Manager) close() {
	defer close(m.closed)
	ctx := context.Background() //nolint:forbidigo // Close's context bounds the wait for this, not this
	m.pool.Wane()
	_ = m.directory.Close(ctx)
	m.registrations.close()
	_ = m.pool.Close(ctx)
	m.log.stop()
}
