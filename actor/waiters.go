package actor

// line is the key's waiters, first come first served. Taking one out of the middle costs nothing: each claim is a link.
type line struct {
	head, tail *Claim
	n          int
}

func (l *line) push(c *Claim) {
	c.prev, c.next = l.tail, nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
	l.n++
}

func (l *line) remove(c *Claim) {
	if c.prev == nil {
		l.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	l.n--
}
