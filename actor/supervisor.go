package actor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config is what a supervisor needs.
type Config struct {
	Store     Store
	Limits    Limits
	Intensity IntensityLimit
	// MaxKeys bounds the keys in use at one time.
	MaxKeys int
	// IdleTimeout is how long an unused key keeps its keeper: starting one costs more than keeping it for a moment.
	IdleTimeout time.Duration
	// Failed is told of each keeper that failed. The supervisor calls it, so it must not block.
	Failed func(KeeperFailure)
	// Hook is for tests: called at every step of a keeper's life, on the keeper's goroutine, it may panic or call Goexit.
	Hook func(id int64, step string)
}

// Supervisor starts the keeper of each key that comes into use, starts it again when it fails, and removes it when the key has
// been idle. It is an owner: run. It never sends to a keeper.
type Supervisor struct {
	config   Config
	Counters Counters

	// The keepers by id. Written by run alone; callers read it, and so reach a keeper without a hop through run. Measured: with
	// that hop a thousand workers make two thirds of the pairs.
	table sync.Map

	// Sent by callers; received by run; never closed; unbuffered: whoever sends is received, or sees done.
	starts chan start
	// Sent by keepers that have nothing left to do; received by run; never closed; unbuffered: a keeper goes on receiving
	// requests until it is removed.
	retired chan *keeper
	// Sent by a keeper's goroutine as its last act; received by run; never closed; unbuffered: run always receives.
	failed chan *failure
	// Sent by Close, where its context ends first; received by run; never closed; unbuffered, since run always receives.
	inquiries chan inquiry
	// Sent by Close; received by run; never closed; capacity 1: one wish to close is as good as many.
	stop chan struct{}
	// Closed by run at its end: no keeper is left; received by callers; nothing is sent.
	done chan struct{}

	// The channels of claims that are over. Measured: making one for each claim costs a thousand workers 4 % more of the client's
	// CPU. Each supervisor has its own, since a channel must not leave the synctest bubble that it was made in.
	replies sync.Pool

	keepers    int // running; run's
	goroutines sync.WaitGroup
}

// start asks for the keeper of a key.
type start struct {
	id   int64
	name string
	// Sent by the supervisor; received by the caller; never closed; capacity 1: one answer.
	reply chan started
}

type started struct {
	keeper *keeper
	err    error
}

// inquiry asks for the names of the keys in use.
type inquiry struct {
	// Sent by the supervisor; received by Close; never closed; capacity 1: one answer.
	reply chan []string
}

// NewSupervisor starts a supervisor.
func NewSupervisor(c Config) *Supervisor {
	if c.Failed == nil {
		c.Failed = func(KeeperFailure) {}
	}
	s := &Supervisor{
		config: c, starts: make(chan start), retired: make(chan *keeper), failed: make(chan *failure),
		inquiries: make(chan inquiry), stop: make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.replies.New = func() any { return make(chan Reply, replyRoom) }
	s.start()
	return s
}

// start starts the supervisor's goroutine. Joined by Close, through done.
func (s *Supervisor) start() { go s.run() }

// run is the supervisor's goroutine: it waits here, and at its end for goroutines that are about to return.
func (s *Supervisor) run() {
	defer close(s.done)
	for stop := s.stop; stop != nil || s.keepers > 0; {
		select {
		case r := <-s.starts:
			k, err := s.keeperFor(r.id, r.name, stop == nil)
			r.reply <- started{k, err}
		case k := <-s.retired:
			s.table.Delete(k.id)
			s.keepers--
			s.Counters.Keys.Add(-1)
		case f := <-s.failed:
			s.restart(f)
		case i := <-s.inquiries:
			i.reply <- s.names()
		case <-stop:
			stop = nil
			s.goroutines.Go(s.tellClosing)
		}
	}
	s.goroutines.Wait() // all are about to return
}

func (s *Supervisor) keeperFor(id int64, name string, closed bool) (*keeper, error) {
	if k, ok := s.find(id); ok {
		return k, nil // it has come into use since the caller looked
	}
	switch {
	case closed:
		return nil, ErrClosed
	case s.keepers >= s.config.MaxKeys:
		return nil, ErrTooManyKeys
	}
	k := newKeeper(s, id, name)
	s.keepers++
	s.Counters.Keys.Add(1)
	s.table.Store(id, k)
	s.startKeeper(k, nil)
	return k, nil
}

func (s *Supervisor) find(id int64) (*keeper, bool) {
	v, ok := s.table.Load(id)
	if !ok {
		return nil, false
	}
	return v.(*keeper), true //nolint:forcetypeassert // nothing else is in it
}

// startKeeper starts a keeper's goroutine. Joined by run, through goroutines.
func (s *Supervisor) startKeeper(k *keeper, f *failure) {
	s.goroutines.Add(1)
	go k.incarnate(f)
}

// restart starts the next incarnation of a keeper that failed. One restart too many in the window, and that incarnation
// refuses the key until the window has passed.
func (s *Supervisor) restart(f *failure) {
	s.Counters.Restarts.Add(1)
	f.Until, _ = f.keeper.restarts.add(time.Now())
	s.config.Failed(f.KeeperFailure)
	s.startKeeper(f.keeper, f)
}

func (s *Supervisor) names() []string {
	var names []string
	for _, v := range s.table.Range {
		names = append(names, v.(*keeper).name) //nolint:forcetypeassert // as above
	}
	slices.Sort(names)
	return names
}

// Submit sends a claim to the keeper of its key, and waits until that has received it. The error says why there is no keeper:
// then nothing will answer the claim.
func (s *Supervisor) Submit(c *Claim) error {
	c.reply = s.newReply()
	k, ok := s.find(c.ID)
	for {
		if !ok {
			var err error
			if k, err = s.request(c); err != nil {
				s.replies.Put(c.reply)
				return err
			}
		}
		c.keeper = k
		if c.send(acquire{c}) {
			break
		}
		ok = false // it has been removed: only run knows of another
	}
	if k.name != c.Name {
		s.Counters.Collisions.Add(1)
	}
	return nil
}

// Hear gives a hint of another process's to the keeper of its key, and reports whether there is one. It waits until the keeper has received
// it, so nobody that a keeper waits for may call it.
func (s *Supervisor) Hear(id int64, n *Hint) bool {
	k, ok := s.find(id)
	if !ok {
		return false
	}
	select {
	case k.requests <- heard{n}:
		return true
	case <-k.done:
		return false
	}
}

// NameOf is the name of a key in use, by its id; empty where none with that id is.
func (s *Supervisor) NameOf(id int64) string {
	if k, ok := s.find(id); ok {
		return k.name
	}
	return ""
}

func (s *Supervisor) newReply() chan Reply {
	return s.replies.Get().(chan Reply) //nolint:forcetypeassert // nothing else is in it
}

// request asks run for a keeper.
func (s *Supervisor) request(c *Claim) (*keeper, error) {
	r := start{c.ID, c.Name, make(chan started, 1)}
	select {
	case s.starts <- r:
		answer := <-r.reply
		return answer.keeper, answer.err
	case <-s.done:
		return nil, ErrClosed
	}
}

// Close refuses new claims and those that wait, ends every hold and releases its lock, and waits until no keeper is left. A
// hold for work is released by its holder, for whom Close waits. It may be called more than once. When ctx ends first it
// returns an error that names the keys still in use; the keepers go on ending.
func (s *Supervisor) Close(ctx context.Context) error {
	select {
	case s.stop <- struct{}{}:
	default:
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %s", context.Cause(ctx), s.InUse())
	}
}

// A message names at most maxNames keys, and shows at most maxNameText bytes of each.
const (
	maxNames    = 10
	maxNameText = 64
)

// QuoteName is the name of a key as messages show it.
func QuoteName(name string) string {
	if len(name) <= maxNameText {
		return strconv.Quote(name)
	}
	return fmt.Sprintf("%q... (%d bytes)", name[:maxNameText], len(name))
}

// tellClosing tells each keeper that the supervisor closes, on a goroutine of its own: run never sends to a keeper. No keeper is
// started any more.
func (s *Supervisor) tellClosing() {
	for _, v := range s.table.Range {
		k := v.(*keeper) //nolint:forcetypeassert // as above
		select {
		case k.requests <- closing{}:
		case <-k.done:
		}
	}
}

// InUse says which keys are in use: held, waited for, or used a moment ago.
func (s *Supervisor) InUse() string {
	i := inquiry{make(chan []string, 1)}
	select {
	case s.inquiries <- i:
	case <-s.done:
		return "no key is in use"
	}
	names := <-i.reply
	var b strings.Builder
	fmt.Fprintf(&b, "%d keys are in use", len(names))
	for n, name := range names {
		if n == maxNames {
			b.WriteString(", ...")
			break
		}
		b.WriteString([...]string{": ", ", "}[min(n, 1)])
		b.WriteString(QuoteName(name))
	}
	return b.String()
}
