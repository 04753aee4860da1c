package actor

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/mailbox"
)

// keeper owns one key. What is the owner's is touched by one goroutine at a time, the one that has the turn. It never
// waits for anything but the mailbox.
//
// Its fields stand in the order in which they are used, as a [Claim]'s do.
type keeper struct {
	inbox mailbox.Mailbox[message]
	turn  mailbox.Turn // who has it owns what is the owner's
	epoch uint32       // the directory's: when it last forwarded a claim
	world *world
	link  Link
	door  door
	id    int64

	name string // of the first claim

	// ---- the owner's
	todo     mailbox.List[message] // taken from the mailbox, not dealt with yet
	current  *Claim                // its message is being dealt with
	received uint64                // claims
	ledger   ledger
	retiring bool // the directory has asked, and no claim has come since
	resuming bool // the machine is new, and has yet to look at who waits
	exiting  bool // nothing is left to do, but for claims that are on their way
	gone     bool // exit, dismissed or closed
	machine  machine
	effects  [2]effect // the machine's room for them: mostly there are no more

	// ---- what the store told, written before its node is posted and read after it was taken
	answeredNode mailbox.Node[message]
	answer       Answer
	reserved     *Answer
	toldHolder   atomic.Pointer[Holder] // two questions may be under way, so that two answers meet here

	seen atomic.Uint64 // received, for the directory to compare

	// ---- the owner's
	clock    *time.Timer
	failure  *KeeperFailure // of the last incarnation, to be cleared up
	restarts *intensity     // nil before the first
}

// world is what all keepers of one directory share.
type world struct {
	store     Store
	limits    Limits
	intensity IntensityLimit
	directory *Directory
	counters  *Counters
	failed    func(KeeperFailure)
	hook      func(id int64, step string) // tests only: called at every step of a keeper's life
	helpers   sync.WaitGroup              // goroutines of keepers that have more to do than a sender should
}

// ledger is what is true of the server, kept apart from the machine: when a keeper fails its machine is thrown away, and
// this is what the next one starts from.
type ledger struct {
	flight   effectKind // the operation under way, where busy
	busy     bool
	held     bool // the lock is ours at the server
	reserved reserving
	on       bool // the lock, or the operation, is on the reserved session
	closing  bool // the manager closes
}

func newKeeper(w *world, id int64, name string) *keeper {
	k := &keeper{id: id, name: name, world: w, epoch: math.MaxUint32}
	k.machine = machine{limits: &w.limits, out: k.effects[:0]}
	k.answeredNode.Value.kind = evAnswered
	k.link = w.store.Attach(id, k)
	return k
}

// Answered implements [Observer], as do Reserved, Lost and Told.
func (k *keeper) Answered(a Answer) {
	k.answer = a
	k.post(&k.answeredNode)
}

func (k *keeper) Reserved(a Answer) {
	k.reserved = &a
	k.post(rare(evReserved))
}

func (k *keeper) Lost() { k.post(rare(evLost)) }

func (k *keeper) Told(h *Holder) {
	k.toldHolder.Store(h)
	k.post(rare(evTold))
}

// rare is a node for what happens to few keepers: room for it in each would cost more than this does now and then.
func rare(kind eventKind) *mailbox.Node[message] {
	return &mailbox.Node[message]{Value: message{kind: kind}}
}

// tellDirectory is for what happens once in a keeper's life, or little more often.
func (k *keeper) tellDirectory(kind eventKind) {
	n := rare(kind)
	n.Value.from = k
	k.world.directory.post(n)
}

// inlineMost bounds how many messages are dealt with on a sender's goroutine, which has other things to do.
const inlineMost = 64

// post sends the keeper a message. Where the keeper sleeps the message is dealt with here and now, on the sender's
// goroutine, which is the keeper's owner meanwhile.
func (k *keeper) post(n *mailbox.Node[message]) {
	k.inbox.Post(n)
	for !k.inbox.Empty() && k.turn.Try() {
		k.incarnate(inlineMost)
		switch {
		case k.failure != nil, !k.gone && !k.todo.Empty():
			k.world.helpers.Go(k.supervise) // with the turn
			return
		case k.gone:
			k.end() // and the turn is kept: nobody acts for this keeper again
			return
		}
		k.turn.Give()
	}
}

// work deals with the messages that are there, at most so many.
func (k *keeper) work(most int) {
	if k.resuming { // here, where a panic is caught: the machine is never to be run anywhere else
		k.resuming = false
		now := time.Now()
		k.machine.out = k.machine.out[:0]
		k.machine.drive(now)
		k.carryOut(k.machine.out)
		k.letGo()
	}
	for n := 0; !k.gone && n < most; n++ {
		m, ok := k.todo.Next()
		if !ok {
			if k.todo = k.inbox.Take(); k.todo.Empty() {
				return
			}
			n--
			continue
		}
		k.current = m.claim
		k.handle(m)
		k.current = nil
	}
}

func (k *keeper) handle(m message) {
	e := event{kind: m.kind, claim: m.claim}
	if alone := k.machine.line.head == nil && (m.kind == evEnd || m.kind == evAnswered); !alone {
		e.now = time.Now() // where nobody waits, nothing hangs on the time of an end or an answer
	}
	k.note(m, &e) // first: whatever fails after this, what the message said of the server or the directory is known
	if k.world.hook != nil {
		k.world.hook(k.id, "message "+m.kind.String())
	}
	if m.kind != evRetire && m.kind != evDismiss {
		k.carryOut(k.machine.step(&e))
	}
	k.letGo()
}

// letGo ends the keeper that has to exit, and tells the directory that it is idle, once it has asked.
func (k *keeper) letGo() {
	if k.exiting { // where the directory has shut the door already, the message that the keeper is dismissed is on its way
		k.gone = k.gone || k.door.shut(k.received)
		return
	}
	if k.retiring && k.idle() {
		k.retiring = false
		k.seen.Store(k.received)
		k.tellDirectory(evRetirable)
	}
}

// note brings the ledger up to date with what a message says, and the event with what the machine has to know.
func (k *keeper) note(m message, e *event) {
	switch m.kind {
	case evAcquire:
		k.received++
		k.retiring = false
	case evAnswered:
		e.answer = k.answer
		k.ledger.answered(e.answer)
	case evReserved:
		e.answer = *k.reserved
		k.ledger.reserved = resNone
		if e.answer.OK {
			k.ledger.reserved = resHave
		}
	case evLost:
		if k.ledger.held && !k.ledger.busy {
			if e.gone = k.link.Gone(); e.gone != nil {
				k.ledger.held = false
			}
		}
	case evTold:
		e.holder = k.toldHolder.Load()
	case evStop:
		k.ledger.closing = true
	case evRetire:
		k.retiring = true
	case evDismiss:
		k.gone = true
	default: // the message says it all
	}
	// Trust matters to whoever waits. What is under way is answered into the link, which is not ours until then.
	if k.machine.line.head != nil && k.ledger.held && !k.ledger.busy {
		e.trust = k.link.Session().TrustedUntil()
	}
}

func (l *ledger) answered(a Answer) {
	l.busy = false
	switch {
	case l.flight == fxUnlock:
		l.held = false
	default:
		l.held = a.OK
	}
}

func (k *keeper) idle() bool {
	l := &k.ledger
	return k.machine.state == stIdle && k.machine.line.n == 0 && !l.busy && !l.held && l.reserved == resNone
}

// carryOut does what the machine wants done, in order.
func (k *keeper) carryOut(effects []effect) {
	for i := range effects {
		fx := &effects[i]
		if k.world.hook != nil {
			k.world.hook(k.id, fx.kind.String())
		}
		k.perform(fx)
	}
}

func (k *keeper) perform(fx *effect) {
	switch fx.kind {
	case fxTry, fxTryReserved, fxWait, fxPoll, fxUnlock:
		k.operate(fx.kind)
	case fxReserve, fxReserveDedicated:
		k.ledger.reserved = resAsked
		head := k.machine.line.head // whom it is for: a try does not wait
		k.link.Reserve(fx.kind == fxReserveDedicated, head != nil && head.Try)
	case fxWithdraw:
		k.ledger.reserved = resDropped
		k.link.Withdraw()
	case fxGiveBack:
		k.ledger.reserved = resNone
		k.link.GiveBack()
	case fxAbandon:
		k.link.Abandon()
	case fxAsk:
		k.link.Ask()
	case fxTimer:
		if at := k.machine.due(); !at.IsZero() {
			k.wakeAt(time.Until(at))
		}
	case fxGrant:
		fx.claim.Session = k.link.Session()
		k.world.counters.grant(fx.claim.Local)
		fx.claim.answer(nil)
	case fxRefuse:
		fx.claim.Holder = k.inTheWay()
		k.world.counters.refusals.Add(1)
		fx.claim.answer(fx.err)
	case fxOver:
		k.world.counters.over(fx.err)
		fx.claim.finishHold(fx.err)
	case fxSettle:
		fx.claim.settle(fx.err)
	case fxExit:
		k.exiting = true
	default:
		panic("BUG: unknown effect " + fx.kind.String())
	}
}

func (k *keeper) operate(kind effectKind) {
	k.ledger.flight, k.ledger.busy = kind, true
	switch kind {
	case fxTry:
		k.world.counters.Attempts.Add(1)
		k.ledger.on = false
		k.link.Try()
		k.attended(k.machine.line.head)
	case fxTryReserved:
		k.world.counters.Attempts.Add(1)
		k.ledger.on = true
		k.link.TryReserved()
		k.attended(k.machine.line.head)
	case fxWait:
		k.world.counters.Attempts.Add(1)
		k.ledger.on = true
		k.link.Wait()
	case fxPoll:
		k.world.counters.Attempts.Add(1)
		k.ledger.on = false
		k.link.Poll()
	case fxUnlock:
		k.link.Unlock()
		k.attended(k.machine.leaving)
	default:
		panic("BUG: not an operation: " + kind.String())
	}
}

// inTheWay is who holds the lock, as far as the keeper knows.
func (k *keeper) inTheWay() *Holder {
	if k.ledger.held && k.machine.state == stHeld {
		return &Holder{Local: true, PID: k.link.Session().PID(), Since: k.machine.holder.Granted, Seen: time.Now()}
	}
	return k.machine.remote
}

func (k *keeper) wakeAt(after time.Duration) {
	if k.clock == nil {
		k.clock = time.AfterFunc(after, func() { k.post(rare(evTimer)) })
		return
	}
	k.clock.Reset(after)
}
