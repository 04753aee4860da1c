package queues

import (
	"container/list"
	ring "container/ring" //arch:owned by the poller's run

	"github.com/lockkeeper/lockkeeper/internal/archlint/testdata/queues/internal/mailbox"
)

import "sync/atomic"

type owner struct {
	inbox  mailbox.Mailbox
	queued *list.List
	next   *ring.Ring
}

type node struct {
	next atomic.Pointer[node] // written by senders
}

type generic[T any] struct {
	value T
	next  atomic.Pointer[generic[T]] // written by senders
}

type left struct {
	to atomic.Pointer[right] // written by senders
}

type right struct {
	to [2]atomic.Pointer[left] // written by senders
}

type plain struct {
	next *plain
}

type stack struct {
	head atomic.Pointer[plain] // written by senders
}

type table [8][2]atomic.Pointer[owner]

type withTable struct {
	cache table // written by senders
	//arch:publishes the supervisor writes each place, once
	fixed []atomic.Pointer[owner] // written by the supervisor
}

// ---- these are fine

type published struct {
	counts [8]atomic.Int64       // written by run
	now    atomic.Pointer[owner] // written by run
	//arch:publishes the list is never changed once it can be seen
	list atomic.Pointer[plain] // written by run
	tree *published
}

type keeper struct {
	//arch:publishes the claim that holds, for Stats
	holder atomic.Pointer[claim] // written by run
}

type claim struct {
	//arch:publishes the keeper that has the claim, for Release
	keeper atomic.Pointer[keeper] // written by the supervisor
}
