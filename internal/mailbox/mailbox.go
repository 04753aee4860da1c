// Package mailbox is how owners are sent messages: a queue of many senders and one receiver whose send never blocks.
//
// A buffered channel as an owner's mailbox makes its sender wait when it is full, and owners that wait on each other
// are how systems of owners deadlock. Here a message is a [Node] that lives inside the object it speaks of (a claim, a
// request, a timer), so a mailbox needs no buffer of its own, a send is one compare-and-swap and never fails, and the
// queue is bounded by the number of those objects, each of which can be in it once.
//
// A receiver with a goroutine of its own sleeps on a channel and is woken once per burst, not once per message: that is
// also what makes a batch. One that is dealt with by its senders ([Turn]) has no such channel.
package mailbox

import "sync/atomic"

// Node carries one message. It is in at most one mailbox at a time, and at most once: posting it again before the
// receiver has taken it is coalesced into the post that is under way.
type Node[T any] struct {
	next   *Node[T]
	queued atomic.Bool
	// Value is the message. It is the sender's until Post and the receiver's after Take.
	Value T
}

// Mailbox is the queue. Any goroutine may Post; only the owner may receive. The zero value is empty.
type Mailbox[T any] struct {
	head atomic.Pointer[Node[T]] // newest first: the receiver turns the list round
	// Made when the owner first sleeps. Capacity 1: "there is something"; sent by Post, received by the owner, never closed.
	wake atomic.Pointer[chan struct{}]
}

// Post puts n into the mailbox and never blocks. It reports false where n was still waiting there: the receiver, which
// takes the mark off before it looks at the message, then sees what the second sender had to say as well.
func (m *Mailbox[T]) Post(n *Node[T]) bool {
	if n.queued.Swap(true) {
		return false
	}
	for {
		old := m.head.Load()
		n.next = old
		if m.head.CompareAndSwap(old, n) {
			if wake := m.wake.Load(); old == nil && wake != nil {
				select {
				case *wake <- struct{}{}:
				default: // a token is there already, and the owner has yet to look
				}
			}
			return true
		}
	}
}

// Wake is readable when something may have come since the last Take. A token can be stale: Take may find nothing. Only
// the owner calls it.
func (m *Mailbox[T]) Wake() <-chan struct{} {
	wake := m.wake.Load()
	if wake == nil {
		made := make(chan struct{}, 1)
		made <- struct{}{} // for what came before there was a channel
		wake = &made
		m.wake.Store(wake)
	}
	return *wake
}

// Empty reports whether nothing lies in the mailbox. Anybody may ask.
func (m *Mailbox[T]) Empty() bool { return m.head.Load() == nil }

// Take empties the mailbox, oldest message first. Only the owner calls it.
func (m *Mailbox[T]) Take() List[T] {
	var first *Node[T]
	for n := m.head.Swap(nil); n != nil; {
		next := n.next
		n.next = first
		first, n = n, next
	}
	return List[T]{first: first}
}

// List is what one Take took.
type List[T any] struct{ first *Node[T] }

// Next removes the oldest message. From then on its node may be posted again, even before the message is dealt with.
func (l *List[T]) Next() (value T, ok bool) {
	n := l.first
	if n == nil {
		return value, false
	}
	l.first = n.next
	n.next = nil
	value = n.Value
	// A swap, not a store: it reads what a coalesced Post wrote, so that all that sender did before is visible here.
	n.queued.Swap(false)
	return value, true
}

// Empty reports whether nothing is left in the list.
func (l *List[T]) Empty() bool { return l.first == nil }
