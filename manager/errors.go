package manager

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// The conditions that errors.Is finds in what this package returns. Context errors and *pgconn.PgError are found as well.
var (
	// ErrNotAcquired: TryAcquire found the lock held, or another caller first in the queue for it.
	ErrNotAcquired = actor.ErrNotAcquired
	// ErrAlreadyRun: Once found that the period of the key is somebody's already. errors.Is finds [ErrNotAcquired] as well.
	ErrAlreadyRun = fmt.Errorf("already run in this period, or running: %w", ErrNotAcquired)
	// ErrWaitTimeout: the time of [WithWaitTimeout] is over.
	ErrWaitTimeout = errors.New("wait timeout")
	// ErrLost: the hold ended although its holder had not released it; the work under it may have overlapped another's.
	ErrLost = actor.ErrLost
	// ErrReleased: the hold ended by Release. It is the cause of the lock's context then.
	ErrReleased = actor.ErrReleased
	// ErrReleaseUnknown: the server did not confirm a release. The session was destroyed, which releases the lock as
	// soon as the server notices.
	ErrReleaseUnknown = actor.ErrReleaseUnknown
	// ErrClosed: the manager is closed, or closing.
	ErrClosed = actor.ErrClosed
	// ErrTooManyWaiters: the queue of the key is full; see [WithMaxWaiters].
	ErrTooManyWaiters = actor.ErrTooManyWaiters
	// ErrTooManyKeys: too many keys are in use; see [WithMaxKeys].
	ErrTooManyKeys = actor.ErrTooManyKeys
	// ErrTooManyLocks: this manager's sessions hold as many locks as they may; see [WithMaxLocksPerSession].
	ErrTooManyLocks = pg.ErrTooManyLocks
	// ErrTooManySessions: TryAcquire with [WithDedicatedSession] found as many sessions in use as [WithMaxSessions] allows.
	ErrTooManySessions = pg.ErrTooManySessions
	// ErrLockTableFull: the server has no room for another lock, of anybody's. Its own advice is in the text.
	ErrLockTableFull = pg.ErrLockTableFull
	// ErrTooManyConnections: the server, the database or the role has as many connections as it may have.
	ErrTooManyConnections = pg.ErrTooManyConnections
	// ErrAttempts: each attempt that the retry policy allows failed. The failures are joined.
	ErrAttempts = actor.ErrAttempts
	// ErrKeeperFailed: the key's keeper panicked, which is a bug of ours. The claim was not granted, or its hold is lost.
	ErrKeeperFailed = actor.ErrKeeperFailed
	// ErrHeld is returned where the context given is that of a hold of the same key, or derived from it: locks are not reentrant.
	ErrHeld = errors.New("the key is held by the context given: locks are not reentrant")
	// ErrNotLeader: this process does not lead.
	ErrNotLeader = errors.New("this process is not the leader")
	// ErrNoLeader: nobody is known to lead, or the server did not tell in time.
	ErrNoLeader = errors.New("no leader is known")
	// ErrResigned is the cause of a term's end by [Leader.Resign].
	ErrResigned = errors.New("the leader has resigned")
	// ErrSessionGone: there is no such session any more; its pid may be another's.
	ErrSessionGone = errors.New("no session with this pid, beginning and application is there any more")
	// ErrSessionHidden: the server does not say to this role when the session of another role began, so that it cannot be told from a later
	// one with its pid. GRANT pg_read_all_stats TO the role.
	ErrSessionHidden = errors.New("the role may not see when this session began: grant it pg_read_all_stats")
	// ErrDeadlock: the caller holds a key and would wait for one whose holder waits for it, directly or over others. Within a process the caller
	// that closes the circle is told at once, over processes one of its members after about a second.
	ErrDeadlock = errors.New("deadlock")
	// ErrNotDedicated: BeginTx of a lock that shares its session with others, or has two.
	ErrNotDedicated = errors.New("the lock has no session of its own: acquire it with WithDedicatedSession")
	// ErrTxOpen: a transaction of [Lock.BeginTx] is open. BeginTx begins no second one; a Release has rolled it back.
	ErrTxOpen = pg.ErrTxOpen
	// ErrSlots: others use another number of slots for the key.
	ErrSlots = errors.New("another number of slots is in use for this key")
	// ErrUnsafe: this server, or the proxy before it, cannot keep a lock safe. The text says what to do.
	ErrUnsafe = pg.ErrUnsafe
	// ErrFenced: the transaction must not commit, since its hold is over, or somebody has drawn a newer token.
	ErrFenced = errors.New("fenced")
	// ErrNoToken: no token could be drawn, or the lock was acquired without one.
	ErrNoToken = errors.New("no token")
	// ErrNotMigrated: the tables for tokens are not there, or of another version; see [Migrate].
	ErrNotMigrated = errors.New("the tables for tokens are missing")
	// ErrEmptyKey: a key needs a name; an empty one is most often a variable that was not filled in.
	ErrEmptyKey = errors.New("the key is empty")
	// ErrNilContext: a nil context was passed.
	ErrNilContext = errors.New("the context is nil")
)

// Holder is who holds a lock, as far as is known.
type Holder = actor.Holder

// AcquireError says why a lock was not acquired, and all that happened on the way.
type AcquireError struct {
	Key string
	ID  int64
	// Shared: the lock was to be shared.
	Shared bool
	// Reason is a sentinel of this package, or what ended the wait: the context's error and its cause.
	Reason error
	// Attempts is how many times the server was asked.
	Attempts int
	// Waited is how long the caller waited.
	Waited time.Duration
	// Holder is who held the lock when this was last known, nil if it is not known. A wait shorter than about 100 ms,
	// or half of the time to its deadline, ends before anybody has asked.
	Holder *Holder
	// Failures are the errors of the attempts that failed, oldest first.
	Failures []error
}

func quoteKey(key string) string { return actor.QuoteName(key) }

func (e *AcquireError) Error() string {
	var b strings.Builder
	b.WriteString("acquire ")
	if e.Shared {
		b.WriteString("shared ")
	}
	fmt.Fprintf(&b, "%s (id %d): %v", quoteKey(e.Key), e.ID, e.Reason)
	fmt.Fprintf(&b, "; waited %v", e.Waited.Round(10*time.Microsecond))
	if e.Attempts > 0 {
		fmt.Fprintf(&b, ", %s at the server", plural(e.Attempts, "attempt"))
	}
	if h := e.Holder; h != nil {
		b.WriteString("; " + describe(h))
	}
	for i, err := range e.Failures {
		if i == 0 {
			fmt.Fprintf(&b, "; %s: ", plural(len(e.Failures), "failed attempt"))
		} else {
			b.WriteString(" | ")
		}
		b.WriteString(err.Error())
	}
	return b.String()
}

// Unwrap gives the reason and every failed attempt's error.
func (e *AcquireError) Unwrap() []error { return append([]error{e.Reason}, e.Failures...) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func describe(h *Holder) string {
	var b strings.Builder
	if h.Local {
		fmt.Fprintf(&b, "held by this process (server pid %d) since %s", h.PID, h.Since.Format(time.RFC3339Nano))
		return b.String()
	}
	fmt.Fprintf(&b, "held by server pid %d", h.PID)
	if h.ApplicationName != "" {
		fmt.Fprintf(&b, ", application %q", h.ApplicationName)
	}
	if h.ClientAddr != "" {
		fmt.Fprintf(&b, ", client %q", h.ClientAddr)
	}
	if !h.Since.IsZero() {
		fmt.Fprintf(&b, ", whose session began at %s", h.Since.Format(time.RFC3339))
	}
	fmt.Fprintf(&b, " (seen %s)", h.Seen.Format(time.RFC3339))
	return b.String()
}
