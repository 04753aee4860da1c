// Package pg keeps PostgreSQL sessions that hold advisory locks, many locks on each.
//
// # Owners
//
// A [Session] is one connection. Who has its turn is its owner for the moment: it sends whatever requests have queued as
// one statement, and accounts for the answer. The turn is taken by whoever submits a request to a session at rest, by the
// reader when an answer is in, and by the session's own goroutine, which has the clock and the end; nobody waits for it.
// The reader is always in a read, so that a dead connection is seen at once; it decodes the answer and tells each client.
// While a statement is under way the next one collects. A [Pool] owns the sessions: it opens them as load asks, gives
// whole sessions to keys that must wait, and replaces what was lost.
//
//	requests ──▶ inbox ──▶ owner ──▶ socket ──▶ server
//	                         ▲                    │
//	                         └─ flight ── reader ◀┘ ──▶ Client.Done
//
// # Two kinds of use
//
//   - shared: thousands of locks. Only try and unlock are ever sent, in batches, so no wait delays a release.
//     Those that wait and have no session to wait on are asked for together, again and again (poll.go).
//   - solo: one key's own session, either to wait in the server's queue or because its user asked for isolation.
//
// # What holds
//
//   - Every request is answered exactly once, also when the session dies.
//   - No caller's context ever reaches a connection: cancelling a statement closes it, and every lock on it is lost.
//   - An error does not mean "not acquired". After any error each id in doubt is unlocked once, which settles it, or the
//     session is destroyed; until then nobody is answered.
//   - A session is trusted until the send time of its last answered round trip, plus the health interval, plus the health
//     timeout. Past that every lock on it is lost, whatever the socket says. The server is told to end a silent
//     session later than that.
//   - A session of which anything is in doubt is destroyed and never used again.
//
// Nothing here is safe without its owner: clients are called on the goroutines above and must not block.
package pg
