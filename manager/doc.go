// Package manager gives Go programs locks on the PostgreSQL they already run.
//
//	m, err := manager.Open(ctx, "postgres://...")
//	defer m.Close(ctx)
//	err = m.Do(ctx, "orders/42", func(ctx context.Context) error {
//		return ship(ctx, 42) // nobody else, in any process, is here for orders/42; ctx ends if that stops being true
//	})
//
// # The context given to Acquire is the lock's life
//
// It bounds the wait and the hold: when it ends, a waiting call returns and a held lock is released, without the caller
// doing anything. A short request context therefore takes the lock with it. [WithWaitTimeout] bounds the wait alone, and
// [WithDetachedHold] keeps the lock after the context has ended.
//
// [Manager.Do] is the exception: it releases the lock when its function has returned, and not before. The end of the context
// ends the function's context at once; the function should return then.
//
// When Release, Do or a failed Acquire has returned, nothing touches the context any more.
//
// # How a hold ends
//
// By Release, by the end of the context, by Close, or by a loss. However it ends, [Lock.Done] is closed, [Lock.Context] ends and
// [Lock.Err] says why.
//
// Locks are not reentrant. Acquire or Do of a key with the context of a hold of the same key, or with one derived from it, returns
// [ErrHeld] at once.
//
// # More than one lock
//
// [Manager.AcquireAll] takes the locks of several keys, all or nothing. [Manager.Once] runs a function in one of all processes per period, and
// [WithMinHold] keeps a lock for a minimum time. [Manager.Elect] runs one while this process leads; [Leader] says who does. [AcquireTx] takes
// a lock in a transaction of the caller's. [WithHashes] holds two ids of each key, while the way to compute ids is changed. [Manager.Locks]
// lists who holds what. An Acquire inside a hold that waits in a circle of holders, in this process or over several, returns [ErrDeadlock].
//
// # What is promised
//
// Two holders of one key never overlap, over all processes that use the same database, as long as the server keeps their
// sessions. Where it does not (a broken connection, a restart, a partition) the holder hears: Lock.Err is [ErrLost] with the
// cause. Where the client stops hearing from the server this comes before the server frees the lock; where the server itself
// ends the session, within milliseconds after. Work that cannot bear those milliseconds is done in a transaction on the lock's own session
// ([Lock.BeginTx]), which is aborted before the lock is anybody else's, or has a fence: [WithFencing] and [Guard].
//
// # How it works
//
// Each key in use has a keeper, a goroutine that owns the key's state; callers send it messages. A few database sessions
// hold all locks, thousands each, in batches. Local waiters of a key are one wait at the server, and the lock is handed
// from one to the next without a round trip, up to a limit of time and number, so that other processes get their turn.
//
// Everything here is safe for concurrent use.
package manager
