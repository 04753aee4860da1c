package pg

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"
)

// Use is what a session is for.
type Use uint8

// The uses.
const (
	UseShared    Use = iota // many locks
	UseWaiting              // one key that waits, or was granted its lock by waiting
	UseDedicated            // one key whose holder wants a session to itself
	uses
)

func (u Use) String() string { return [...]string{"shared", "waiting", "dedicated"}[u] }

// Pool owns the sessions: it opens them as load asks, gives whole ones to keys that need one, polls for keys that wait without one,
// and forgets those that have ended. It is an owner: run. What waits for the network is done on goroutines of its own, which report
// to it. It sends to sessions only where that does not wait.
type Pool struct {
	config    Config
	self      uint32 // this manager's number in hints; written by Hints, before any hint
	connector *connector
	stats     stats
	plainWait atomic.Bool               // written by the owners of solo sessions: the server has no PL/pgSQL, so that a wait's end is logged
	shared    atomic.Pointer[[]*Shared] // written by run: those that locks can be asked for on

	// Sent by keepers, by callers (New, Stats, the question who holds a lock), by Pool.passOn, by the owners of lent sessions and by
	// connecting goroutines; received by run; never closed; unbuffered: run always receives, and whoever comes after its end sees done.
	requests chan poolRequest
	// Sent by who finds the shared sessions crowded: keepers, run itself, owners of lent sessions; received by run; never closed; capacity 1: one wish is as good as many.
	grow chan struct{}
	// Sent by opening goroutines as their last act; received by run; never closed; unbuffered: run waits for each.
	opened chan opened
	// Sent by sessions as their last act; received by run; never closed; unbuffered: run waits for each, and whoever was not known
	// to it sees done.
	ended chan Session
	// Sent by sessions' readers and owners; received by run; never closed; capacity maxPollBatches: as many are under way.
	polled chan *pollBatch
	// Sent by sessions' readers and owners; received by run; never closed; capacity 1: one question is under way.
	told chan *inquiry
	// Sent by sessions' readers and owners; received by run; never closed; capacity maxHintBatches + 1: as many statements of hints are
	// under way, and one that listens.
	hinted chan *hintBatch
	// Sent by Close; received by run; never closed; capacity 1: one wish to close is as good as many.
	stop chan struct{}
	// Closed by run at its end: no session is left; received by callers and sessions; nothing is sent.
	done chan struct{}

	life      context.Context //nolint:containedctx // bounds whatever opens sessions; ends CloseTimeout after the pool has begun to close
	endLife   context.CancelFunc
	openers   sync.WaitGroup
	listeners sync.WaitGroup
	puddle    *puddle.Pool[*Solo]

	// ---- run's
	sharedAll map[*Shared]bool
	solos     map[*Solo]*soloPlace
	waiting   []*Request // tries that wait for a shared session
	queues    [uses]reservations
	opening   [uses]int
	inUse     [uses]int
	poller    poller
	hints     hints
	wishes    map[wish]bool // to know who holds a lock, which no question is under way for
	asking    *inquiry      // under way
	askedAt   time.Time     // when the last question was sent
	askGap    time.Duration
	askTimer  *time.Timer // runs where there are wishes, and it is not time yet
	noGrowth  time.Time   // after a failure, until when no further shared session is opened
	closing   bool
	lateTimer *time.Timer // ends life CloseTimeout after the pool has begun to close
}

// soloPlace is what the pool knows of one solo session.
type soloPlace struct {
	resource *puddle.Resource[*Solo]
	use      Use
	idle     bool // it lies in the puddle
}

// opened is what came of opening a session.
type opened struct {
	use    Use
	shared *Shared
	solo   *puddle.Resource[*Solo]
	err    error
}

// Open makes a pool and its first session, after making sure that this server's locks can be relied on. ctx bounds it.
func Open(ctx context.Context, source Source, config Config) (*Pool, error) {
	if named, ok := source.(interface{ connectTimeout() time.Duration }); ok && config.ConnectTimeout == 0 {
		config.ConnectTimeout = named.connectTimeout()
	}
	config, err := config.WithDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		config: config, connector: newConnector(source, config),
		requests: make(chan poolRequest), grow: make(chan struct{}, 1), opened: make(chan opened), ended: make(chan Session),
		polled: make(chan *pollBatch, maxPollBatches), told: make(chan *inquiry, 1), hinted: make(chan *hintBatch, maxHintBatches+1), stop: make(chan struct{}, 1),
		done: make(chan struct{}), sharedAll: make(map[*Shared]bool), solos: make(map[*Solo]*soloPlace), poller: newPoller(), wishes: make(map[wish]bool), askTimer: newStoppedTimer(),
		hints: hints{pause: newStoppedTimer()},
	}
	p.shared.Store(new([]*Shared))
	first, err := p.connector.probe(ctx)
	if err != nil {
		return nil, err
	}
	p.life, p.endLife = context.WithCancel(context.Background()) //nolint:forbidigo // the pool's own lifetime: Close ends it
	p.puddle, err = puddle.NewPool(&puddle.Config[*Solo]{
		MaxSize:     int32(min(config.MaxSessions, 1<<20)),
		Constructor: p.construct,
		Destructor:  func(s *Solo) { s.end(); <-s.gone }, // on a goroutine of puddle's, for which nobody waits
	})
	if err != nil {
		closeSocket(first.conn)
		p.endLife()
		return nil, err
	}
	p.connector.moved = func() { p.send(failedOver{}) }
	s := startShared(p, first, false)
	p.tellOpened(&s.session, UseShared)
	p.addShared(s)
	p.start()
	return p, nil
}

// construct runs on a goroutine of puddle's. An opening goroutine waits for it, or until its context ends; then what is made lies idle in
// the puddle.
func (p *Pool) construct(ctx context.Context) (*Solo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	c, err := p.connector.open(ctx)
	if err != nil {
		return nil, err
	}
	return startSolo(p, c), nil
}

// start starts the pool's goroutine. Joined by Close, through done.
func (p *Pool) start() { go p.run() }

// run is the pool's goroutine: it waits here, and at its end for the goroutines that have reported to it.
func (p *Pool) run() {
	defer close(p.done)
	defer p.poller.tick.Stop()
	defer p.askTimer.Stop()
	defer p.hints.pause.Stop()
	for stop := p.stop; stop != nil || len(p.sharedAll)+len(p.solos) > 0 || p.opening != [uses]int{}; {
		select {
		case r := <-p.requests:
			r.do(p)
		case <-p.grow:
			p.growNow()
		case o := <-p.opened:
			p.openedNow(o)
		case s := <-p.ended:
			p.endedNow(s)
		case b := <-p.polled:
			p.batchBack(b)
		case q := <-p.told:
			p.toldNow(q)
		case b := <-p.hinted:
			p.hintBack(b)
		case <-p.askTimer.C:
			p.sendQuestion()
		case <-p.hints.pause.C:
			p.hints.paused = false
		case <-p.poller.tick.C:
			p.sendPolls()
		case <-stop:
			stop = nil
			p.closeNow()
		}
		p.sendHints()
	}
	p.openers.Wait() // all have reported
	p.lateTimer.Stop()
	p.endLife()
}

// Close ends every session, in good order where the server answers, and waits until nothing is left: no goroutine, no connection.
// Whoever asks for something meanwhile, or later, gets ErrClosed. It is idempotent. When ctx ends first it returns, and what is left ends by itself within the connect
// and close timeouts.
func (p *Pool) Close(ctx context.Context) error {
	select {
	case p.stop <- struct{}{}:
	default:
	}
	select {
	case <-p.done:
		p.listeners.Wait() // each has seen its session's end
		p.puddle.Close()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the sessions is still under way: %w", context.Cause(ctx))
	}
}

func (p *Pool) closeNow() {
	p.closing = true
	clear(p.wishes)
	// What is being opened has a moment to come up, and is closed in good order then: a server that is hung up on meanwhile logs it.
	p.lateTimer = time.AfterFunc(p.config.CloseTimeout, p.endLife)
	p.refuseWaiting(ErrClosed)
	for use := range p.queues {
		for r := p.queues[use].next(); r != nil; r = p.queues[use].next() {
			r.Client.Reserved(r, nil, ErrClosed)
		}
	}
	p.failPolls(ErrClosed)
	for s := range p.sharedAll {
		s.end()
	}
	for s, place := range p.solos {
		if !place.idle {
			s.end()
		}
	}
	p.destroyIdle()
}

// destroyIdle ends the solo sessions that lie in the puddle.
func (p *Pool) destroyIdle() {
	for _, resource := range p.puddle.AcquireAllIdle() {
		if place := p.solos[resource.Value()]; place != nil {
			place.idle = false
		} else if !resource.Value().endTold { // made for an opener whose context had ended by then
			p.solos[resource.Value()] = &soloPlace{resource: resource}
		}
		resource.Destroy()
	}
}

// end orders a session to end. It does not wait: there is room for one such order.
func (s *session) end() {
	select {
	case s.orders <- order{}:
	default: // it has been ordered already
	}
}

// tellEnded is a session's last act.
func (p *Pool) tellEnded(s Session) {
	select {
	case p.ended <- s:
	case <-p.done:
	}
}
