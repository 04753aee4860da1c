package actor

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/mailbox"
)

// Config is what a directory needs.
type Config struct {
	Store     Store
	Limits    Limits
	Intensity IntensityLimit
	// MaxKeys bounds the keys in use at one time.
	MaxKeys int
	// Linger is how long an unused key keeps its keeper: starting one costs more than keeping it for a moment.
	Linger time.Duration
	// Failed is told of each keeper that failed. It is called by the keeper and must not block.
	Failed func(KeeperFailure)
	// Hook is for tests: called at every step of a keeper's life, it may panic.
	Hook func(id int64, step string)
}

// Directory knows the keeper of each key in use, and forwards claims to them. A keeper retires without a race, since each
// claim enters by its door before it is sent.
type Directory struct {
	world     world
	Counters  Counters
	shortcuts shortcuts
	inbox     mailbox.Mailbox[message]
	stopping  chan struct{} // closed by Close, once it has the token
	token     chan struct{} // capacity 1: the right to close stopping
	done      chan struct{} // closed by the owner: no keeper is left
	maxKeys   int
	linger    time.Duration

	turn mailbox.Turn  // who has it owns what is below
	wake chan struct{} // capacity 1: something for the directory's own goroutine

	// ---- the owner's
	keys    map[int64]*keeper
	running int // keepers that have not ended, retired ones too
	epoch   uint32
	touched [3][]*keeper // those last claimed by way of the directory in this epoch, in the one before, and before that
	closed  bool
}

// NewDirectory starts a directory.
func NewDirectory(c Config) *Directory {
	d := &Directory{
		stopping: make(chan struct{}), token: make(chan struct{}, 1), done: make(chan struct{}),
		wake:    make(chan struct{}, 1),
		maxKeys: c.MaxKeys, linger: c.Linger, keys: make(map[int64]*keeper),
	}
	d.token <- struct{}{}
	d.world = world{store: c.Store, limits: c.Limits, intensity: c.Intensity, directory: d, counters: &d.Counters,
		failed: c.Failed, hook: c.Hook}
	if d.world.failed == nil {
		d.world.failed = func(KeeperFailure) {}
	}
	go d.run()
	return d
}

// Submit sends a claim on its way. It never blocks; [Claim.Wait] gives the answer.
func (d *Directory) Submit(c *Claim) {
	d.Counters.claims.Add(1)
	if k := d.shortcut(c); k != nil {
		c.keeper.Store(k)
		k.post(&c.ask)
		return
	}
	d.post(&c.ask)
	select {
	case <-d.done: // the owner may have looked for the last time before the claim came
		d.sweep()
	default:
	}
}

// post sends the directory a message. Where the directory sleeps it is dealt with here and now, on the sender's goroutine.
func (d *Directory) post(n *mailbox.Node[message]) {
	d.inbox.Post(n)
	d.work(inlineMost)
}

// work deals with the messages that are there. After so many the directory's own goroutine goes on.
func (d *Directory) work(most int) {
	for handled := 0; !d.inbox.Empty() && d.turn.Try(); {
		for list := d.inbox.Take(); ; handled++ {
			m, ok := list.Next()
			if !ok {
				break
			}
			d.handle(m)
		}
		over := d.closed && d.running == 0
		d.turn.Give()
		if over || handled >= most {
			d.nudge()
			return
		}
	}
}

// nudge wakes the directory's own goroutine.
func (d *Directory) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run is the directory's own goroutine: it has the clock, and the end.
func (d *Directory) run() {
	defer d.finish()
	epoch := max(d.linger/2, time.Millisecond)
	ticker := time.NewTicker(epoch)
	defer ticker.Stop()
	stopping := d.stopping
	for ticks := true; ; {
		var do func()
		select {
		case <-d.wake:
			do = func() {}
		case <-ticker.C:
			do = d.nextEpoch
		case <-stopping:
			stopping = nil
			do = d.stop
		}
		d.turn.Take()
		do()
		for d.retireSome() {
			d.turn.Give()
			d.work(math.MaxInt) // who has come meanwhile comes first
			d.turn.Take()
		}
		switch unused := d.unused(); {
		case unused && ticks:
			ticker.Stop() // a program that rests is not woken for nothing
			ticks = false
		case !unused && !ticks:
			ticker.Reset(epoch)
			ticks = true
		}
		over := d.closed && d.running == 0
		d.turn.Give()
		d.work(math.MaxInt)
		if over {
			return
		}
	}
}

func (d *Directory) handle(m message) {
	switch m.kind {
	case evAcquire:
		d.forward(m.claim)
	case evEnd:
		if k := m.claim.keeper.Load(); k != nil {
			k.post(&m.claim.end)
		} // otherwise it is seen to have ended when it comes
	case evRetirable:
		d.retirable(m.from)
	case evExited:
		d.running--
	default:
		panic("BUG: unknown message to the directory: " + m.kind.String())
	}
}

func (d *Directory) forward(c *Claim) {
	k := d.keys[c.ID]
	switch {
	case d.closed:
		d.refuse(c, ErrClosed)
		return
	case k == nil && len(d.keys) >= d.maxKeys:
		d.refuse(c, ErrTooManyKeys)
		return
	case k == nil:
		k = newKeeper(&d.world, c.ID, c.Name)
		d.keys[c.ID] = k
		d.Counters.Keys.Add(1)
		d.running++
	case k.name != c.Name:
		d.Counters.Collisions.Add(1)
	}
	if !k.door.enter() {
		panic("BUG: the directory knows a keeper that lets nobody in")
	}
	d.touch(k)
	c.keeper.Store(k)
	k.post(&c.ask)
}

func (d *Directory) refuse(c *Claim, err error) {
	d.Counters.refusals.Add(1)
	c.answer(err)
}

func (d *Directory) stop() {
	d.closed = true
	for _, k := range d.keys {
		k.post(rare(evStop))
	}
}

// finish lets go of what came too late.
func (d *Directory) finish() {
	d.Counters.Keys.Add(-int64(len(d.keys)))
	d.world.helpers.Wait() // no keeper is left, so there will be no more of them
	close(d.done)
	d.sweep()
}

// sweep answers whatever is in the mailbox of a directory that has ended. Each message goes to one sweeper only.
func (d *Directory) sweep() {
	for list := d.inbox.Take(); ; {
		m, ok := list.Next()
		if !ok {
			return
		}
		if m.kind == evAcquire {
			d.refuse(m.claim, ErrClosed)
		}
	}
}

// Close refuses new claims and those that wait, ends every hold and releases its lock, and waits until no keeper is left.
// It may be called more than once. When ctx ends first it returns; the keepers go on ending.
func (d *Directory) Close(ctx context.Context) error {
	select {
	case <-d.token:
		close(d.stopping)
	default:
	}
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("releasing the locks is still under way: %w", context.Cause(ctx))
	}
}
