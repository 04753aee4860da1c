package proxy

import (
	"sync"
	"time"
)

// chunk is what was read at one time. No bytes are the end of the stream.
type chunk struct {
	due   time.Time
	bytes []byte
	to    sink
}

// sink is where bytes go; it is used by the line's goroutine alone.
type sink interface {
	Write(b []byte) (int, error)
	// CloseWrite passes on that no more will come.
	CloseWrite() error
}

// clock is replaced in tests.
type clock struct {
	now   func() time.Time
	sleep func(time.Duration)
}

// line holds what is in flight, in the order in which it is due.
type line struct {
	clock clock
	delay time.Duration

	mu     sync.Mutex
	filled *sync.Cond
	queue  []chunk
	closed bool
	ended  chan struct{} // closed when run has returned
}

func newLine(delay time.Duration, c clock) *line {
	l := &line{clock: c, delay: delay, ended: make(chan struct{})}
	l.filled = sync.NewCond(&l.mu)
	return l
}

// put takes over the bytes. It never blocks: a reader that waited for a writer could make both ends wait for each other.
func (l *line) put(b []byte, to sink) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The time is taken under the lock, so that the queue is in the order of the times.
	l.queue = append(l.queue, chunk{due: l.clock.now().Add(l.delay), bytes: b, to: to})
	if len(l.queue) == 1 {
		l.filled.Signal()
	}
}

// run passes chunks on when they are due, until close. What is in flight then is dropped.
func (l *line) run() {
	defer close(l.ended)
	for {
		due := l.take()
		if due == nil {
			return
		}
		for _, c := range due {
			if !l.until(c.due) {
				return
			}
			if len(c.bytes) == 0 {
				_ = c.to.CloseWrite()
				continue
			}
			// A connection that cannot be written to is found by the reader on its other side.
			_, _ = c.to.Write(c.bytes)
		}
	}
}

// The longest sleep at a stretch: a sleeping line does not hear of its close.
const stretch = 10 * time.Millisecond

// until sleeps until then. It returns false when the line is closed.
func (l *line) until(then time.Time) bool {
	for {
		wait := then.Sub(l.clock.now())
		if wait <= 0 {
			return true
		}
		l.clock.sleep(min(wait, stretch))
		if l.isClosed() {
			return false
		}
	}
}

func (l *line) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// take waits for chunks and returns all that are there, or nil when the line is closed.
func (l *line) take() []chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.filled.Wait()
	}
	if l.closed {
		return nil
	}
	taken := l.queue
	l.queue = nil
	return taken
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.filled.Signal()
}
