package manager

import "time"

// WithHook has f called at every step of every keeper's life. It may panic, as a keeper with a bug would.
func WithHook(f func(id int64, step string)) Option { return func(c *config) { c.hook = f } }

// ErrLostMeanwhile is the reason of a TryAcquire of several locks of which one was lost before all were held.
var ErrLostMeanwhile = errLostMeanwhile

// WithClock has Once read another clock.
func WithClock(now func() time.Time) Option { return func(c *config) { c.now = now } }

// VoidStatement writes that nobody was told a token, as a drawer does, and what was told before it.
func VoidStatement(id, token, told int64) string {
	r := &drawing{marks: []*tokenMark{{id: id, token: token, void: true, told: told}}}
	return r.markStatement()
}
