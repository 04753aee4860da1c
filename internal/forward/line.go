package forward

import (
	"slices"
	"sync"
	"time"
)

// chunk is what was read at one time.
type chunk struct {
	due   time.Time
	bytes []byte
	to    *stream
}

// clock is replaced in tests.
type clock struct {
	now   func() time.Time
	sleep func(time.Duration)
}

// line holds what is under way, in the order in which it is due.
type line struct {
	clock clock
	ended chan struct{} // closed when run has returned

	mu     sync.Mutex
	filled *sync.Cond
	queue  []chunk
	closed bool
}

func newLine(c clock) *line {
	l := &line{clock: c, ended: make(chan struct{})}
	l.filled = sync.NewCond(&l.mu)
	return l
}

// put takes over the bytes. It never blocks: a reader that waited for a writer could make both ends wait for each other.
func (l *line) put(s *stream, b []byte, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := l.clock.now().Add(delay)
	if due.Before(s.last) {
		due = s.last
	}
	s.last = due
	// As long as the delay stays the same, what comes last is due last.
	i := len(l.queue)
	for i > 0 && l.queue[i-1].due.After(due) {
		i--
	}
	l.queue = slices.Insert(l.queue, i, chunk{due, b, s})
	if len(l.queue) == 1 {
		l.filled.Signal()
	}
}

// stretch is the longest sleep: a line that sleeps hears neither of its close nor of a chunk that is due earlier.
const stretch = time.Millisecond

// run passes chunks on when they are due, until close. What is under way then is dropped.
func (l *line) run() {
	defer close(l.ended)
	for {
		due, wait, open := l.take()
		if !open {
			return
		}
		for _, c := range due {
			c.to.write(c.bytes)
			c.to.queued.Add(-1)
		}
		if len(due) == 0 {
			l.clock.sleep(min(wait, stretch))
		}
	}
}

// take waits until there are chunks. It returns those that are due, or how long the first still takes.
func (l *line) take() (due []chunk, wait time.Duration, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.filled.Wait()
	}
	if l.closed {
		return nil, 0, false
	}
	now, n := l.clock.now(), 0
	for n < len(l.queue) && !l.queue[n].due.After(now) {
		n++
	}
	due, wait = l.queue[:n:n], l.queue[0].due.Sub(now)
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	return due, wait, true
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.filled.Signal()
}
