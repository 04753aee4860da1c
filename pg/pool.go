package pg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/lockkeeper/lockkeeper/internal/mailbox"
)

// Pool owns the sessions. Its fields below the line belong to one goroutine, which never waits for the network: what
// does, an opener, is a goroutine of its own that reports back.
type Pool struct {
	config Config
	source Source
	// database is the server's name for the one that the locks are in; written when the pool is opened.
	database string
	stats    stats

	shared  atomic.Pointer[[]*Session] // a snapshot for choosing, published by the owner
	refused atomic.Pointer[map[string]string]
	lineage atomic.Pointer[lineage] // the latest that was seen; openers write it
	growing atomic.Bool             // another shared session has been asked for
	waning  atomic.Bool             // see Wane
	inbox   mailbox.Mailbox[poolMessage]
	life    context.Context //nolint:containedctx // bounds whatever opens sessions; ends when the pool closes
	endLife context.CancelFunc
	done    chan struct{} // closed by the owner at its end
	openers sync.WaitGroup
	puddle  *puddle.Pool[*Session]

	// ---- the owner's
	sessions  map[*Session]*seat
	pending   []*Request        // tries that came when no shared session was there
	polls     polls             //
	queues    [3][]*Reservation // by use: who waits for a solo session, first come first served
	queued    [3]int            // by use: those in the line that have not withdrawn
	opening   [3]int            // by use
	inUse     [3]int            // by use: seats given out
	noGrowth  time.Time         // after a failure, until when no further shared session is tried
	closing   bool              //
	closeDone []chan struct{}   // whom to tell when all is closed
}

// seat is what the pool knows of one session.
type seat struct {
	resource *puddle.Resource[*Session] // nil while the session lies idle in the puddle
	use      Use
}

type poolMessageKind uint8

const (
	poolPending poolMessageKind = iota // a try found no shared session
	poolGrow
	poolReserve
	poolWithdraw
	poolReturn
	poolBorn   // a session exists
	poolOpened // an opener is done
	poolEnded
	poolStats
	poolClose
	poolPoll
	poolPolled // a poll has been answered
)

type poolMessage struct {
	kind        poolMessageKind
	request     *Request
	poll        *poll
	reservation *Reservation
	session     *Session
	resource    *puddle.Resource[*Session]
	use         Use
	err         error
	stats       chan Stats
	done        chan struct{}
}

func (p *Pool) post(m poolMessage) {
	p.inbox.Post(&mailbox.Node[poolMessage]{Value: m})
}

// Reserver is who asks for a session of its own. Reserved is called on the pool's owner and must not block.
type Reserver interface {
	Reserved(r *Reservation, s *Session, err error)
}

// Reservation is a place in the line for a solo session. It is answered exactly once: with a session, which goes back
// by [Pool.Return], or with an error, [ErrWithdrawn] among them.
type Reservation struct {
	Client   Reserver
	Use      Use
	Now      bool // it does not stand in line: [ErrTooManySessions] where no session is to be had
	answered bool // the pool's owner's
}

// Reserve asks for a session. It never blocks.
func (p *Pool) Reserve(r *Reservation) {
	p.post(poolMessage{kind: poolReserve, reservation: r})
	p.afterEnd()
}

// Withdraw takes a reservation back, unless it has been answered.
func (p *Pool) Withdraw(r *Reservation) { p.post(poolMessage{kind: poolWithdraw, reservation: r}) }

// Return gives a solo session back on which nothing is held and nothing under way. A session that has ended may be
// given back as well.
func (p *Pool) Return(s *Session) { p.post(poolMessage{kind: poolReturn, session: s}) }

// Open makes a pool and its first session, after making sure that this server's locks can be relied on.
func Open(ctx context.Context, source Source, config Config) (*Pool, error) {
	config, err := config.WithDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{config: config, source: source, done: make(chan struct{}), sessions: make(map[*Session]*seat)}
	p.polls.init()
	p.shared.Store(new([]*Session))
	p.life, p.endLife = context.WithCancel(context.Background()) //nolint:forbidigo // the pool's own lifetime: Close ends it
	p.puddle, err = puddle.NewPool(&puddle.Config[*Session]{
		MaxSize:     int32(min(config.MaxSessions, 1<<20)),
		Constructor: p.construct,
		Destructor:  func(s *Session) { s.stop(); <-s.ended },
	})
	if err != nil {
		p.endLife()
		return nil, err
	}
	if err := p.probeAndOpen(ctx); err != nil {
		p.endLife()
		p.puddle.Close()
		return nil, err
	}
	go p.run()
	p.post(poolMessage{kind: poolGrow}) // which takes the first session
	return p, nil
}

// probeAndOpen makes the first session too, so that what is wrong with one is seen when the pool is opened.
func (p *Pool) probeAndOpen(ctx context.Context) error {
	if err := p.probe(ctx); err != nil {
		return err
	}
	if err := p.puddle.CreateResource(ctx); err != nil {
		return connectError(err, "")
	}
	return nil
}

func (p *Pool) construct(ctx context.Context) (*Session, error) {
	c, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	s := newSession(p, c)
	p.post(poolMessage{kind: poolBorn, session: s})
	return s, nil
}

// Trust is how long a session that has stopped answering is believed in.
func (p *Pool) Trust() time.Duration { return p.config.Trust() }

// startOpen starts an opener. puddle gives it an idle session or makes a new one.
func (p *Pool) startOpen(use Use) {
	p.opening[use]++
	p.openers.Go(func() {
		ctx, cancel := context.WithTimeout(p.life, p.config.ConnectTimeout)
		defer cancel()
		for {
			resource, err := p.puddle.Acquire(ctx)
			if err == nil {
				if resource.Value().Lost() != nil { // died, or is dying, while it lay idle
					resource.Destroy()
					continue
				}
			} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
				err = connectError(err, "")
			}
			p.post(poolMessage{kind: poolOpened, resource: resource, err: err, use: use})
			return
		}
	})
}

func (p *Pool) run() {
	defer p.afterEnd() // what came after the last look
	defer close(p.done)
	ticker := time.NewTicker(max(p.config.IdleTime/2, time.Millisecond))
	defer ticker.Stop()
	defer p.polls.tick.Stop()
	for !p.closing || len(p.sessions) > 0 || p.opening != [3]int{} {
		select {
		case <-p.inbox.Wake():
			p.takeAll()
		case <-ticker.C:
			p.tidy(p.config.IdleTime)
		case <-p.polls.tick.C:
			p.askPolls()
		}
	}
	for _, done := range p.closeDone {
		close(done)
	}
}

func (p *Pool) takeAll() {
	for list := p.inbox.Take(); ; {
		m, ok := list.Next()
		if !ok {
			return
		}
		p.handle(m)
	}
}

func (p *Pool) handle(m poolMessage) {
	switch m.kind {
	case poolPending:
		p.addPending(m.request)
	case poolGrow:
		p.grow()
	case poolReserve:
		p.queues[m.reservation.Use] = append(p.queues[m.reservation.Use], m.reservation)
		p.queued[m.reservation.Use]++
		p.dispatch()
		p.refuseLast(m.reservation)
	case poolWithdraw:
		p.withdraw(m.reservation)
	case poolReturn:
		p.returned(m.session)
	case poolBorn:
		p.sessions[m.session] = &seat{}
		p.depose(m.session.lineage)
		if p.closing {
			m.session.stop()
		}
	case poolOpened:
		p.opened(m)
	case poolEnded:
		p.ended(m.session)
	case poolStats:
		m.stats <- p.snapshot()
	case poolClose:
		p.startClose(m.done)
	case poolPoll:
		p.addPoll(m.poll)
	case poolPolled:
		p.polls.remove(m.poll)
	default:
		panic("BUG: unknown message to the pool")
	}
}

func (p *Pool) addPending(r *Request) {
	r.Attended = false // by the time that it is sent its caller sleeps
	switch {
	case p.closing:
		r.answer(nil, false, ErrClosed)
	default:
		if s := p.choose(); s != nil { // one has come since the request looked
			s.Submit(r)
			return
		}
		shared := len(*p.shared.Load())
		if another, light := p.mayShare(); shared > 0 && p.opening[UseShared] == 0 &&
			(!another || light || p.total() >= p.config.MaxSessions) {
			r.answer(nil, false, fmt.Errorf("%w: %d on each of %d", ErrTooManyLocks, p.config.MaxLocksPerSession, shared))
			return
		}
		p.pending = append(p.pending, r)
		if p.opening[UseShared] == 0 {
			p.startOpen(UseShared)
		}
	}
}

func (p *Pool) grow() {
	another, _ := p.mayShare()
	if p.closing || p.waning.Load() || p.opening[UseShared] > 0 || time.Now().Before(p.noGrowth) || !another ||
		p.total() >= p.config.MaxSessions {
		p.growing.Store(false)
		return
	}
	p.startOpen(UseShared)
}

// dispatch starts openers for those who wait, as far as the limits go.
func (p *Pool) dispatch() {
	if p.closing {
		p.refuseQueues(ErrClosed)
		return
	}
	for _, use := range [...]Use{UseDedicated, UseWaiting} {
		limit := p.config.MaxSessions
		if use == UseWaiting {
			limit = p.config.WaitingSessions
		}
		for p.queued[use] > p.opening[use] && p.inUse[use]+p.opening[use] < limit && p.roomForSolo() {
			p.startOpen(use)
		}
	}
}

func (p *Pool) opened(m poolMessage) {
	p.opening[m.use]--
	if m.err != nil {
		p.openFailed(m.use, m.err)
		return
	}
	s := m.resource.Value()
	seat, alive := p.sessions[s]
	if !alive || p.closing { // it has ended since, or must
		if alive {
			s.stop()
		}
		m.resource.Destroy()
		if !p.closing && m.use == UseShared {
			p.openFailed(m.use, s.lossError())
		}
		p.dispatch()
		return
	}
	p.config.Event(Event{Kind: EventOpened, PID: s.pid, Use: m.use, Timeline: s.lineage.timeline})
	seat.resource = m.resource
	if m.use == UseShared {
		p.seat(s, UseShared)
		_, s.light = p.mayShare()
		p.share(s)
		p.growing.Store(false)
		for _, r := range p.pending {
			s.Submit(r)
		}
		p.pending = nil
		return
	}
	p.give(s, m.use)
}

// give hands a solo session to the next in line, or lays it down.
func (p *Pool) give(s *Session, use Use) {
	r := p.next(use)
	if r == nil {
		resource := p.sessions[s].resource
		p.sessions[s].resource = nil
		resource.Release()
		p.dispatch()
		return
	}
	p.seat(s, use)
	r.Client.Reserved(r, s, nil)
}

func (p *Pool) seat(s *Session, use Use) {
	p.sessions[s].use = use
	s.use.Store(uint32(use))
	p.inUse[use]++
}

func (p *Pool) openFailed(use Use, err error) {
	p.config.Event(Event{Kind: EventFailed, Use: use, Err: err})
	if use != UseShared {
		if r := p.next(use); r != nil {
			r.Client.Reserved(r, nil, err)
		}
		p.dispatch()
		return
	}
	p.noGrowth = time.Now().Add(time.Second)
	p.growing.Store(false)
	for _, r := range p.pending {
		r.answer(nil, false, err)
	}
	p.pending = nil
}

func (p *Pool) returned(s *Session) {
	seat, alive := p.sessions[s]
	if !alive || seat.resource == nil || p.closing || s.Lost() != nil {
		return // it has ended, or is about to; the rest is done then
	}
	use := seat.use
	p.inUse[use]--
	if p.queued[use] == 0 && p.queued[UseWaiting] > 0 && p.inUse[UseWaiting] < p.config.WaitingSessions {
		use = UseWaiting
	}
	p.give(s, use)
}
