package actor

// queue is the key's waiters, first come, first served, or its holders. A claim in the middle is removed in constant time: each
// claim is a link of it, and in one of the two at a time. The keeper owns it.
type queue struct {
	head, tail *Claim
	n          int
}

func (q *queue) push(c *Claim) {
	c.prev, c.next = q.tail, nil
	if q.tail == nil {
		q.head = c
	} else {
		q.tail.next = c
	}
	q.tail = c
	q.n++
}

func (q *queue) remove(c *Claim) {
	if c.prev == nil {
		q.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		q.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	q.n--
}
