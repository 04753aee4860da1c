package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/summary"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/child"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/internal/faultpoint"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	openBound = 20 * time.Second
	// drainBound is how long calls may take to return once they are cancelled: far more than any bound of theirs.
	drainBound = 60 * time.Second
	closeBound = 30 * time.Second
	// settleBound is how long goroutines may take to be gone: pgx gives a broken connection 15 s.
	settleBound = 20 * time.Second
)

// The parts that this program plays when a run starts it.
const (
	PartWorker    = "worker"
	PartForwarder = "forwarder"
	PartNamespace = "namespace"
)

// historyFile is the descriptor at which a worker process finds the pipe for its history.
const historyFile = 3

// Serve plays a part for the parent process.
func Serve(part string, in io.Reader, out io.Writer) error {
	methods, ok := map[string]any{PartWorker: &player{}, PartForwarder: &forwarder{}, PartNamespace: &dialer{}}[part]
	if !ok {
		return fmt.Errorf("no part %q", part)
	}
	return child.Serve(methods, in, out)
}

// Job is what a worker process needs to know.
type Job struct {
	plan.Plan
	Process    int
	Generation int // which incarnation of the process it is
	DSN        string
	LockDSN    string // of the manager
}

// Closing is what a worker process says after it has closed everything.
type Closing struct {
	Goroutines int    // that are left
	Stacks     string // of these
	CloseError string
	Failures   map[string]int // of acquisitions and releases, by text
	Problems   []string       // that the history does not show
	Restarts   uint64         // of keepers
}

// player is a worker process: goroutines that take locks through a manager of their own, look all the time whether they
// still hold them, write to the database meanwhile, and record everything before they act on it. The parent calls the
// exported methods: Open, Play, and then the others; Stop is the last one.
type player struct {
	job     Job
	history *recorder
	before  int // goroutines before anything was opened
	locks   *manager.Manager
	table   *table
	txs     *pgxpool.Pool // for transactions that hold locks
	panics  atomic.Int64  // keepers that are still to panic
	stop    context.CancelFunc
	stopped chan struct{} // closed when all goroutines of the load have ended

	mu       sync.Mutex
	waiting  map[*wait]struct{} // acquisitions that can be cancelled
	failures map[string]int
	problems []string
}

// Open opens the manager. It tries again as long as there is time: a process may be started while its server is away.
func (p *player) Open(job Job, _ *struct{}) (err error) {
	p.before = runtime.NumGoroutine()
	p.job, p.waiting, p.failures = job, map[*wait]struct{}{}, map[string]int{}
	p.history = &recorder{out: os.NewFile(historyFile, "history"), process: job.Process, generation: job.Generation}
	faultpoint.Install(func(_ int64, step string) { // called at every step of every keeper
		if p.panics.Load() > 0 && rand.IntN(20) == 0 && p.panics.Add(-1) >= 0 {
			panic("chaos: injected at " + step)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), openBound)
	defer cancel()
	if p.table, err = openTable(ctx, &job); err != nil {
		return err
	}
	if p.txs, err = openTransactions(ctx, &job); err != nil {
		return err
	}
	options := []manager.Option{
		manager.WithApplicationName(appOf(job.Process)), manager.WithNamespace(namespace),
		manager.WithHealth(job.Interval, job.Timeout), manager.WithConnectTimeout(2 * time.Second),
		manager.WithIdleKeyTime(200 * time.Millisecond), manager.WithMaxSessions(32),
	}
	if job.Hints(job.Process) {
		options = append(options, manager.WithNotify())
	}
	if job.Pooler != "" {
		options = append(options, manager.WithTransactionPooler())
	}
	for {
		began := time.Now()
		p.locks, err = manager.Open(ctx, job.LockDSN, options...)
		if err == nil || ctx.Err() != nil || errors.Is(err, manager.ErrUnsafe) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		fmt.Fprintf(os.Stderr, "opening took %v and failed: %v\n", time.Since(began), err) // shown if the process fails
		_ = interrupt.Sleep(ctx, 50*time.Millisecond)
	}
}

// Play begins the load.
func (p *player) Play(struct{}, *struct{}) error {
	stopping, stop := context.WithCancel(context.Background())
	p.stop, p.stopped = stop, make(chan struct{})
	go func() {
		defer close(p.stopped)
		p.play(stopping)
	}()
	go p.history.watchStalls(p.stopped)
	return nil
}

// Storm cancels all waits.
func (p *player) Storm(struct{}, *struct{}) error {
	p.storm()
	return nil
}

// Panic makes as many keepers panic.
func (p *player) Panic(keepers int64, _ *struct{}) error {
	p.panics.Store(keepers)
	return nil
}

// Victim is whose session is to be ended.
type Victim struct {
	Application string
	Pick        uint64
}

// Holder finds a session that holds a lock, as the library lists them.
func (p *player) Holder(v Victim, found *manager.LockSession) error {
	ctx, cancel := context.WithTimeout(context.Background(), openBound)
	defer cancel()
	var err error
	ended := until(ctx, func() bool {
		var locks []manager.LockInfo
		if locks, err = p.locks.Locks(ctx); err != nil {
			return true
		}
		var holders []manager.LockSession
		for _, l := range locks {
			for _, s := range l.Holders {
				if s.ApplicationName == v.Application {
					holders = append(holders, s)
				}
			}
		}
		if len(holders) > 0 {
			*found = holders[v.Pick%uint64(len(holders))]
		}
		return len(holders) > 0
	})
	return cmp.Or(err, ended)
}

// Terminate ends that session. It may have ended by itself.
func (p *player) Terminate(s manager.LockSession, _ *struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), openBound)
	defer cancel()
	if err := p.locks.Terminate(ctx, s); !errors.Is(err, manager.ErrSessionGone) {
		return err
	}
	return nil
}

// Sample returns what this process uses.
func (p *player) Sample(_ struct{}, s *summary.Sample) error {
	s.Goroutines = runtime.NumGoroutine()
	pages, err := os.ReadFile("/proc/self/statm") // the second number is the resident memory
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(pages), new(uint64), &s.Resident); err != nil {
		return err
	}
	s.Resident *= uint64(os.Getpagesize())
	descriptors, err := os.ReadDir("/proc/self/fd")
	s.Descriptors = len(descriptors) - 1 // without the one that lists them
	return err
}

// Stop ends the load and closes everything.
func (p *player) Stop(_ struct{}, last *Closing) error {
	p.stop()
	ctx, cancel := context.WithTimeout(context.Background(), drainBound)
	defer cancel()
	err := until(ctx, func() bool {
		p.storm() // also those that have begun to wait since
		select {
		case <-p.stopped:
			return true
		default:
			return false
		}
	})
	if err != nil {
		return fmt.Errorf("calls did not return within %v of the cancellation of their contexts; goroutines:\n%s", drainBound, server.Stacks())
	}
	p.panics.Store(0)
	last.Failures, last.Problems, last.Restarts = p.failures, p.problems, p.locks.Stats().Restarts
	ctx, cancel = context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	if err := p.locks.Close(ctx); err != nil {
		last.CloseError = err.Error()
	}
	p.txs.Close()
	p.table.close()
	ctx, cancel = context.WithTimeout(context.Background(), settleBound)
	defer cancel()
	_ = until(ctx, func() bool { return runtime.NumGoroutine() <= p.before })
	last.Goroutines, last.Stacks = server.CountGoroutines(p.before)
	return nil
}
