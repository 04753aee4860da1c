package pg

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// An attempt makes one connection, or probes a server. It calls code of the user's: DialFunc, LookupFunc, AfterConnect, a
// pool's hooks, a TLS callback, the methods of a net.Conn. Such code may ignore its context, panic or end its goroutine.
// So an attempt runs on a goroutine of its own, and its caller waits no longer than its context or the limit allow.
type attempt struct {
	limit time.Duration // how long one answer may take: each answer begins it anew
	begun time.Time

	heardAfter atomic.Int64           // when the last answer came, counted from begun; written by whoever reads answers for the attempt
	expecting  atomic.Pointer[string] // what has not been answered; written by whoever asks for the attempt
}

// lateBound is how long a caller whose context or limit has ended waits for the attempt to clean up. Code that listens to
// its context needs much less. What needs more is left alone, and closes what it gets.
const lateBound = 100 * time.Millisecond

func newAttempt(limit time.Duration) *attempt {
	a := &attempt{limit: limit, begun: time.Now()}
	a.expect("a connection")
	return a
}

// expect says what is asked for now, which is an answer to what was asked before.
func (a *attempt) expect(what string) {
	a.expecting.Store(&what)
	a.heard()
}

// heard notes an answer.
func (a *attempt) heard() { a.heardAfter.Store(int64(time.Since(a.begun))) }

// silence is how long nothing has been answered.
func (a *attempt) silence() time.Duration {
	return time.Since(a.begun) - time.Duration(a.heardAfter.Load())
}

// timedOut says what was not answered within a limit.
func (a *attempt) timedOut(limit time.Duration) error {
	return &silenceError{what: *a.expecting.Load(), limit: limit}
}

// silenceError says that something did not answer within our own limit. The caller's context has nothing to do with it.
type silenceError struct {
	what  string
	limit time.Duration
}

func (e *silenceError) Error() string {
	return fmt.Sprintf("%s timed out: no answer within %v (ConnectTimeout: WithConnectTimeout, or connect_timeout in the DSN)", e.what, e.limit)
}

func (e *silenceError) Timeout() bool   { return true }
func (e *silenceError) Temporary() bool { return true }

// panicError says that a function of the user's did not return.
type panicError struct {
	value any // nil where it ended its goroutine
	stack string
}

func (e *panicError) Error() string {
	if e.value == nil {
		return "a function of the connection's configuration called runtime.Goexit"
	}
	return fmt.Sprintf("a function of the connection's configuration panicked: %v\n%s", e.value, e.stack)
}

// start runs f on a goroutine of its own and passes what it returns to deliver, on that goroutine. Where f panics or calls
// runtime.Goexit, deliver gets an error that says so.
func start[T any](f func() (T, error), deliver func(T, error)) {
	// Joined by whoever receives what deliver sends.
	go func() {
		var value T
		var err error = &panicError{} // stands where f calls runtime.Goexit: the deferred call below is all that runs then
		defer func() { deliver(value, err) }()
		defer func() {
			if v := recover(); v != nil {
				err = &panicError{value: v, stack: string(debug.Stack())}
			}
		}()
		value, err = f()
	}()
}

type outcome[T any] struct {
	value T
	err   error
}

// run starts f and waits for its result, for ctx and for the limit, whichever is first. A result that comes later is
// discarded.
func (a *attempt) run(ctx context.Context, f func(context.Context) (*connection, error), discard func(*connection)) (*connection, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan outcome[*connection]) // sent by f's goroutine; received by this one; never closed; capacity 0: what is not received is discarded
	gone := make(chan struct{})                // received by f's goroutine; closed here at the return
	defer close(gone)
	start(func() (*connection, error) { return f(inner) }, func(conn *connection, err error) {
		select {
		case results <- outcome[*connection]{conn, err}:
		case <-gone:
			if conn != nil {
				discard(conn)
			}
		}
	})
	// f's own deadlines say more about what was not answered. This timer is for code that ignores them.
	timer := time.NewTimer(a.limit + lateBound)
	defer timer.Stop()
	for {
		select {
		case out := <-results:
			return out.value, out.err
		case <-ctx.Done():
			lastMoment(results, discard)
			return nil, ctx.Err()
		case <-timer.C:
			if left := a.limit + lateBound - a.silence(); left > 0 {
				timer.Reset(left)
				continue
			}
			err := a.timedOut(a.limit)
			cancel()
			lastMoment(results, discard)
			return nil, err
		}
	}
}

// lastMoment waits a little for an attempt that is given up, so that it has cleaned up when its caller returns.
func lastMoment(results <-chan outcome[*connection], discard func(*connection)) {
	timer := time.NewTimer(lateBound)
	defer timer.Stop()
	select {
	case out := <-results:
		if out.value != nil {
			discard(out.value)
		}
	case <-timer.C:
	}
}

// each calls f for 0 to n-1, all at once, and returns when all have returned.
func each(n int, f func(i int) error) error {
	errs := make(chan error, n) // sent by f's goroutines; received here; never closed; capacity n: one result each
	for i := range n {
		start(func() (struct{}, error) { return struct{}{}, f(i) }, func(_ struct{}, err error) { errs <- err })
	}
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
