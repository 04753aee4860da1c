package manager

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/internal/faultpoint"
	"github.com/lockkeeper/lockkeeper/internal/latency"
	"github.com/lockkeeper/lockkeeper/pg"
)

// Manager gives locks. One per program and database is enough; it must be closed.
type Manager struct {
	config     config
	pool       *pg.Pool
	supervisor *actor.Supervisor
	watcher    *watcher
	drawer     *drawer
	log        journal
	observing  observing
	waits      latency.Histogram
	holds      latency.Histogram // from the grants to the ends of holds
	refused    refusals          // written by whoever is refused
	untold     atomic.Int64      // locks that are held, whose callers wait for the token; written by those callers
	background sync.WaitGroup    // goroutines that take registrations back
	marking    sync.WaitGroup    // goroutines that tell the drawer of holds that have ended

	closing atomic.Bool // written by the first Close
	// Closed by close when nothing of the manager is left; received by Close; nothing is sent.
	closed chan struct{}
}

// Source is where a manager's connections come from.
type Source = pg.Source

// FromConfig takes connections by a configuration that pgx.ParseConfig made. It is copied, with the password that was read then.
func FromConfig(c *pgx.ConnConfig) (Source, error) { return pg.FromConfig(c) }

// FromPool takes connections out of the user's own pool, for good: one that may still hold a lock never goes back.
func FromPool(p *pgxpool.Pool) (Source, error) { return pg.FromPool(p) }

// FromDB takes connections out of a database/sql pool on pgx's stdlib driver, for good. Where stdlib.OpenDBFromPool made the sql.DB, give
// its pgxpool to [FromPool] instead.
func FromDB(db *sql.DB) (Source, error) { return pg.FromDB(db) }

// Open connects to a server and makes sure that its locks can be relied on. The DSN is all that pgx parses: URL or
// key=value form, several hosts, TLS, service files, and the PG* variables where it is silent. It is parsed again for each
// connection, so that files with a password or a certificate may be replaced. Open blocks for a few round
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
	if isNil(source) {
		return nil, errors.New("lockkeeper: the source of connections is nil")
	}
	m := &Manager{closed: make(chan struct{})}
	m.config.hook = faultpoint.Installed()
	for _, opt := range opts {
		if opt != nil {
			opt(&m.config)
		}
	}
	if err := m.config.complete(); err != nil {
		return nil, fmt.Errorf("lockkeeper: %w", err)
	}
	m.config.sessions.Event = m.log.session
	m.log.start(m.config.logger)
	m.observing.start(m.config.observer)
	pool, err := pg.Open(ctx, source, m.config.sessions)
	if err != nil {
		m.observing.stop()
		m.log.stop()
		return nil, fmt.Errorf("lockkeeper: %w", err)
	}
	m.pool = pool
	m.supervisor = actor.NewSupervisor(m.config.supervisor(store{pool}, m.log.keeper))
	m.watcher = newWatcher(m)
	m.watcher.start()
	m.drawer = newDrawer(pool)
	m.drawer.start()
	if m.config.notify {
		pool.Hints(m.hear)
	}
	return m, nil
}

// Key is a key whose id has been computed, for hot paths. It is valid as long as its manager.
type Key struct {
	m      *Manager
	name   string
	id     int64
	second int64 // of WithHashes; else it is id
}

// Key computes a key's id once.
func (m *Manager) Key(name string) Key {
	k := Key{m: m, name: name, id: m.config.hash(name)}
	if k.second = k.id; m.config.secondHash != nil {
		k.second = m.config.secondHash(name)
	}
	return k
}

// Name is the key's name, without the namespace.
func (k Key) Name() string { return k.name }

// ID is the lock's number at the server, as pg_locks shows it: the high half in classid, the low half in objid. With [WithHashes], where
// a key has two, it is that of the old function.
func (k Key) ID() int64 { return k.id }

// Acquire takes the lock, waiting for as long as somebody else holds it. See [Manager.Acquire].
func (k Key) Acquire(ctx context.Context, opts ...AcquireOption) (*Lock, error) {
	return k.acquire(ctx, actor.Terms{}, opts)
}

// TryAcquire takes the lock if it is free. See [Manager.TryAcquire].
func (k Key) TryAcquire(ctx context.Context, opts ...AcquireOption) (*Lock, error) {
	return k.acquire(ctx, actor.Terms{Try: true}, opts)
}

// Acquire takes the lock of a key, waiting for as long as somebody else holds it. ctx bounds the wait AND the hold: when
// it ends the lock is released. Local callers are served first come, first served. The error is an [*AcquireError]
// with the whole story. Any bytes are a legal key, of any length, but not none.
func (m *Manager) Acquire(ctx context.Context, key string, opts ...AcquireOption) (*Lock, error) {
	return m.Key(key).acquire(ctx, actor.Terms{}, opts)
}

// TryAcquire takes the lock of a key if it is free, and answers [ErrNotAcquired] if not. It never waits for a holder: it takes one
// round trip, and one more on a new session where its session has ended. Where a wait for the key that was given up in this process still goes
// on at the server, it is told who holds the lock before that ends: within a tenth of a second. A server that does not answer is given up after the times
// of [WithHealth] and [WithConnectTimeout] together. ctx bounds the hold as with Acquire.
func (m *Manager) TryAcquire(ctx context.Context, key string, opts ...AcquireOption) (*Lock, error) {
	return m.Key(key).acquire(ctx, actor.Terms{Try: true}, opts)
}

// Close ends the manager: who waits gets [ErrClosed], who holds a lock finds its context ended with that cause, every lock is
// released, every connection closed. The locks of Do are released when their functions have returned; Close waits for them.
// It waits until nothing is left, and is idempotent. When ctx ends first it returns an error that names the keys still in use, and
// the rest ends by itself: within the health and connect timeouts, once those functions have returned.
func (m *Manager) Close(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	if !m.closing.Swap(true) { //arch:publishes that the manager closes: the first caller starts that
		m.startClose()
	}
	select {
	case <-m.closed:
		return nil
	case <-ctx.Done():
		if isClosed(m.closed) {
			return nil
		}
		return fmt.Errorf("lockkeeper: closing is still under way: %w; %s", contextReason(ctx), m.supervisor.InUse())
	}
}

// startClose starts the goroutine that closes. Joined by Close, through closed.
func (m *Manager) startClose() { go m.close() }

// close is bounded by the functions of Do, and by the sessions' own deadlines: a server that does not answer is given up when trust
// in it ends.
func (m *Manager) close() {
	defer close(m.closed)
	ctx := context.Background() //nolint:forbidigo // Close's context bounds the wait for this, not this
	m.watcher.stop()            // who waits is refused from now on
	m.drawer.refuse()           // and who waits for a token
	_ = m.supervisor.Close(ctx)
	m.marking.Wait()
	m.drawer.stop()
	_ = m.pool.Close(ctx)
	m.observing.stop()
	m.background.Wait() // after all else: a function of a context's that blocks keeps nothing open
	m.log.stop()
}
