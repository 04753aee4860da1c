// Package pg keeps PostgreSQL sessions that hold advisory locks, thousands of locks on each.
//
// The package serves package manager and carries no promise of compatibility.
//
// # Goroutines and channels
//
//	                       ┌── requests ──▶ Shared.run or Solo.run ── sent ──▶ reader ──▶ Client.Done
//	keeper ────────────────┤                  │      ▲    │                      │
//	                       │                  │      │    └───── socket ─────────┘
//	                       │                  │      └──── answered, toOwner ────┘
//	                       └── requests ──▶ Pool.run ◀── ended, polled, told, opened
//
// A keeper hears by methods that only send an event: Client.Done of the reader, of the owner and of the pool; Client.Lost of the owner;
// Reserver.Reserved and Asker.Told of the pool.
//
// A session is a connection with two goroutines: its owner, which sends statements, and its reader, which is always in a read, so that
// the end of the connection is seen when it comes. The reader decodes each answer and tells the clients. [Shared] has many locks: what
// has queued goes as one statement over two arrays, unlocks and tries, and two statements may be in the air. [Solo] has one key, to
// wait for it in the server's queue or since its holder wants a session to itself. [Pool] opens sessions as load asks, gives solo
// sessions out, polls for keys that wait without one, and forgets sessions that have ended. What is asked beside that has a connection
// of its own ([Questions]). It also tells other managers' pools which locks
// are waited for and which have come free, by NOTIFY, and has one of its shared sessions LISTEN (hints.go): Pool.passOn gives what that session's reader
// hears to keepers, on a goroutine of its own. Solo sessions lie in a puddle, which makes and destroys them on goroutines of its own. All of it is hints of when to try.
//
//	channel            sent by                     received by        closed by  capacity
//	session.requests   keepers, the pool           the owner          never      2,048 of a Shared, where requests wait without waking
//	                                                                             anybody; 1 of a Solo, whose one client has one under way
//	Shared.crowded     who finds requests full     the owner          never      1: one wish is enough
//	session.sent       the owner                   the reader         never      3: as many statements are in the air (airRoom)
//	session.answered   the reader                  the owner          never      3: likewise; their clients were told
//	session.toOwner    the reader                  the owner          never      3: likewise; those that the owner has to look at: errors,
//	                                                                             and what has no client
//	session.lastWord   the reader                  the owner          never      1: a server has one last word
//	session.heard      the reader                  Pool.passOn        never      1: the reader takes what is unread and adds to it
//	session.readEnded  -                           the owner          reader     nothing is sent
//	session.orders     the pool                    the owner          never      2: one to stop, one of a failover
//	session.gone       -                           senders, passOn,   the owner  nothing is sent
//	                                               puddle, a loan's
//	                                               caller
//	Loan.granted       the owner                   Loan.Begin         never      1: one answer
//	Loan.wants         the courier                 the owner          never      0: being received is the leave to write
//	Loan.wrote         the courier                 the owner          never      1: it writes one thing at a time
//	Loan.finish        who ends the transaction    the owner          never      1: one wish to end is enough
//	Loan.told          the pool                    the owner          never      2: questions are seconds apart; else dropped
//	Loan.settled       the reader                  the owner          never      1: it looks at counts
//	Loan.revoked       -                           the courier        the owner  nothing is sent
//	Loan.ended         -                           the owner          courier    nothing is sent
//	Pool.requests      keepers, callers, passOn,   Pool.run           never      0: run always receives
//	                   owners of lent sessions,
//	                   connecting goroutines
//	Pool.grow          the same, and Pool.run      Pool.run           never      1: one wish is enough
//	Pool.opened        opening goroutines          Pool.run           never      0: run waits for each
//	Pool.ended         sessions' owners            Pool.run           never      0: run waits for each
//	Pool.polled        readers and owners          Pool.run           never      2: as many batches are under way (maxPollBatches)
//	Pool.hinted        readers and owners          Pool.run           never      3: two statements of hints are under way (maxHintBatches), and
//	                                                                             one that listens
//	Pool.told          readers and owners          Pool.run           never      1: one question is under way
//	Pool.stop          Close                       Pool.run           never      1: one wish to close is enough
//	Pool.done          -                           callers, sessions  Pool.run   nothing is sent
//
// The pool sends to sessions only where that does not wait. So sessions may wait until the pool receives: the owner of a lent session does, with
// its question who holds the lock. All else that sessions send to the pool, and readers to owners, goes into room that is there, or is their
// last act. A listening goroutine may wait for keepers, and nobody waits for it but Close. A client's methods may do nothing but send into room that is there. So no two owners can wait for each other.
//
// # A session that is lent
//
// The holder of a solo session's lock may have a transaction on it (loan.go, lend.go, tx.go). Its pgx connection is one end of a pipe:
//
//	pgx ── pipe ──▶ courier ── wants, wrote ──▶ Solo.run      the courier writes to the socket, when the owner gives it leave
//	 ▲                 └────── socket ──────▶ server
//	 └──── pipe ──── reader ◀──┘                              the reader copies what is no answer to the owner's statements
//
// The connection stays the owner's and the reader's, so that the end of the session is seen when it comes. The owner sends its own only
// while nothing of the holder's is in the air, and the courier writes only while nothing of the owner's is: so each answer is known to be
// whose. The reader waits for the holder only where the holder has asked for what comes; the owner's SetDeadline and Close of the pipe
// end that. The owner may send to the pool (Who), as it does at its end.
//
// # A session's end
//
// An owner that is to end publishes why, tells those who hold locks on it, gives them a moment where the server may well have the
// session still, and hangs up (leave.go). It refuses requests until nobody can send one that would not be seen: it sets closed, receives
// what is there, and closes gone. Whoever sends a request looks at closed afterwards: if it is set, the request may never have been
// received, and gone tells when that is known.
//
// # Opening
//
// A connector makes connections (connector.go): it asks the source for one on a goroutine of the attempt's, since sources run code of
// the user's; sets the session up in one flight (setup.go); and makes sure at [Open] that the server, and what stands before it, keeps
// locks (probe.go).
//
// # What a session lives in
//
// A session has its backend for as long as it is connected, or it is always in a transaction, during which a pooler in transaction mode
// keeps the backend for it. All that differs is in the fields of a [scope]: what the set-up sends, how an answer may end, what is sent
// after a failure, and how the session ends. Where a statement fails in a transaction those on their way behind it fail unexecuted. The owner
// has the transaction replaced by another (ROLLBACK AND CHAIN), settles the one and sends the others again. The transaction is replaced with each health question too,
// with each question that reads the server's views, and after each slice of a wait: what a transaction keeps is never older than that.
//
// # What holds
//
//   - Every request is answered exactly once, also when the session ends, unless its sender learns that it was never received.
//   - No caller's context ever reaches a connection that holds locks: cancelling a statement closes it, and every lock on it is lost.
//   - An error does not mean "not acquired". After any error each id in doubt is unlocked once, which settles it, or the session is
//     ended; until then nobody is answered.
//   - A session is trusted until the send time of its last answered round trip, plus the health interval, plus the health timeout. Past
//     that every lock on it is lost, whatever the socket says. The server is told to end a silent session later than that.
//   - A session that holds nothing asks nothing, and ends after a while.
//   - A session of which anything is in doubt ends.
package pg
