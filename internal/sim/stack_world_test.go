package sim_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
	"github.com/lockkeeper/lockkeeper/internal/sim"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	stackInterval = 500 * time.Millisecond
	stackTimeout  = 200 * time.Millisecond
	// stackPatience is how long the server bears silence: hardly longer than a client trusts in it.
	stackPatience = stackInterval + stackTimeout + 5*time.Millisecond
	stackSlice    = 200 * time.Millisecond
	stackConnect  = 300 * time.Millisecond
	stackClose    = 100 * time.Millisecond
	stackRestarts = 400 * time.Millisecond
	// stackSlack is how late anybody may hear. Nobody is: all act at once.
	stackSlack = time.Millisecond

	stackSessions = 4

	stackSecret = "s3cr3t-word"
)

// stack is several programs with a lock manager each, on one simulated PostgreSQL. The history's goroutine alone chooses.
type stack struct {
	tale
	keys     []string
	programs []*program
	all      []*program
	calls    []*call
	rules    []func()      // more of them, for look
	unblock  chan struct{} // closed when all is to go well: backoffs that block go on

	// With mu.
	backoffs    int
	asked       int     // locks were asked for so often
	wires       []*wire // all that were opened, in the order of their pids
	locks       map[int64]*advisory
	outsiders   map[int64]*backend
	lastPID     uint32
	serverStart int
	timeline    int    // counts up where a standby takes the server's place
	turnAway    string // SQLSTATE by which everybody is refused
	dial        error  // what becomes of new connections
	hangs       bool   // nobody answers to new connections,
	logsIn      bool   // or not after the log-in
	noLanguage  bool   // the server has no PL/pgSQL
}

// program is one process.
type program struct {
	w         *stack
	n         int
	m         *manager.Manager
	excused   map[int64]*wire    // locks that the server has freed by itself, and whose session's client has yet to hear
	doomed    map[int64]*doom    // keepers that are to fail, by the lock's id
	failed    map[string]failure // the last failure of each key's keeper
	closing   bool
	closingAt time.Time
	closed    chan struct{}
}

func (p *program) String() string { return fmt.Sprintf("program %d", p.n) }

func newStack(src *sim.Source) *stack {
	w := &stack{unblock: make(chan struct{}), locks: map[int64]*advisory{}, outsiders: map[int64]*backend{}, lastPID: 100, serverStart: 1_700_000_000, timeline: 1}
	w.begin(src)
	src.Next()
	w.keys = []string{"a", "b", "c"}[:1+src.Pick(3)]
	w.noLanguage = src.Chance(5)
	for range 1 + src.Pick(2) {
		w.programs = append(w.programs, w.newProgram())
	}
	return w
}

func (w *stack) newProgram() *program {
	p := &program{w: w, n: len(w.all) + 1, excused: map[int64]*wire{}, doomed: map[int64]*doom{}, failed: map[string]failure{}, closed: make(chan struct{})}
	w.all = append(w.all, p)
	config, err := pgx.ParseConfig("host=127.0.0.1 port=1 user=u password=" + stackSecret + " dbname=db sslmode=disable")
	if err != nil {
		panic(err)
	}
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = p.connect
	source, err := manager.FromConfig(config)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	dial, hangs, turnAway := w.dial, w.hangs, w.turnAway
	w.dial, w.hangs, w.turnAway = nil, false, ""
	w.mu.Unlock()
	p.m, err = p.open(source, manager.WithHealth(stackInterval, stackTimeout),
		manager.WithSessionTimeout(stackPatience), manager.WithWaitSlice(stackSlice), manager.WithConnectTimeout(stackConnect),
		manager.WithSharedSessions(1+w.src.Pick(2)), manager.WithWaitingSessions(1+w.src.Pick(2)), manager.WithMaxSessions(stackSessions),
		manager.WithIdleKeyTime(100*time.Millisecond), manager.WithRestarts(3, stackRestarts), manager.WithHandOffLimit(20*time.Millisecond, 1+w.src.Pick(4)),
		manager.WithMaxLocksPerSession([]int{0, 1}[w.src.Pick(2)]), manager.WithCloseTimeout(stackClose),
		manager.WithRetry(manager.RetryPolicy{Attempts: 3, Backoff: w.shortBackoff}))
	if err != nil {
		w.violate("a good server is taken", "%v", err)
		panic(err)
	}
	w.mu.Lock()
	w.dial, w.hangs, w.turnAway = dial, hangs, turnAway
	w.mu.Unlock()
	return p
}

var errRefused = errors.New("connection refused")

// connect is the programs' dialer.
func (p *program) connect(ctx context.Context, _, _ string) (net.Conn, error) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dial != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: w.dial}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.lastPID++
	c := &wire{Stream: pgfake.NewStream(), w: w, p: p, cut: w.hangs, lastAsked: map[int64]int{}}
	c.backend = &backend{Session: pgfake.Session{PID: w.lastPID}, w: w, c: c, doubt: map[int64]bool{}, idle: time.Now()}
	w.wires = append(w.wires, c)
	w.say("          %v opens %v", p, c)
	return c, nil
}

// settle lets everybody act until all wait for the next step, and looks at where that has led.
func (w *stack) settle() {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.wires, func(a, b *wire) int {
		return cmp.Or(cmp.Compare(a.p.n, b.p.n), cmp.Compare(a.backend.PID, b.backend.PID))
	})
	w.order()
	w.wires = slices.DeleteFunc(w.wires, func(c *wire) bool { return c.backend.over && c.closed })
	w.expire()
	w.look()
	w.ordered = len(w.trace)
}

// pass lets time go by; the server looks at its clock on the way.
func (w *stack) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && w.fine(); {
		time.Sleep(min(time.Until(end), w.untilExpiry())) //nolint:forbidigo // the bubble's clock
		w.settle()
	}
}

func (c *wire) waitsInQueue() bool { s := c.next(); return s != nil && s.queued }

func (w *stack) untilExpiry() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := time.Hour
	for _, c := range w.wires {
		if !c.backend.over {
			next = min(next, time.Until(c.backend.silentUntil()))
		}
	}
	return max(next, time.Millisecond)
}

// expire ends the sessions of which the server has not heard for longer than it bears. One that waits for a lock is not
// idle.
func (w *stack) expire() {
	for _, c := range w.wires {
		b := c.backend
		if b.over || c.waitsInQueue() || time.Now().Before(b.silentUntil()) {
			continue
		}
		for _, k := range w.calls {
			if k.p == c.p && k.wire == c && w.lock(k.id).has(b) && (k.watches() || k.holds() || k.works() && k.work.ctx.Err() == nil) {
				w.violate("no silent loss", "%v holds on while the server ends its session, of which it has not heard", k)
			}
		}
		w.seen.add("session expired")
		w.say("          the server has not heard of %v of %v for long, and ends it", c, c.p)
		b.end(false)
	}
}
