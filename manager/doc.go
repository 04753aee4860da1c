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
// [DetachHold] keeps the lock after the context has ended.
//
// # What is promised
//
// Two holders of one key never overlap, over all processes that use the same database, as long as the server keeps their
// sessions. Where it does not (a broken connection, a restart, a partition) the holder hears: [Lock.Context] ends with the
// cause, [Lock.Lost] is closed, [Lock.Err] says why. Where the client stops hearing from the server this comes before the
// server frees the lock; where the server itself ends the session, within milliseconds after. Work that cannot
// bear those milliseconds needs a fencing token of its own.
//
// # How it works
//
// Each key in use has a keeper, which alone has the key's state; callers send it messages. A few database sessions
// hold all locks, thousands each, in batches. Local waiters of a key are one wait at the server, and the lock is handed
// from one to the next without a round trip, for at most a quantum, so that other processes get their turn.
//
// Everything here is safe for concurrent use.
package manager
