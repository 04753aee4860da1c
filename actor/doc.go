// Package actor gives every key in use an owner: one goroutine, its keeper, that alone knows who holds the key's lock, who waits for
// it, and what is under way at the database. Callers, timers and the database speak to it by messages over channels.
//
// The package serves package manager and carries no promise of compatibility.
//
// # Goroutines and channels
//
//	            starts, retired, failed
//	         ┌──────────────────────────▶ Supervisor.run ── starts ──▶ keeper.run, one for each key in use
//	         │                                                          │  ▲
//	caller ──┴── requests ──────────────────────────────────────────────┼──┤
//	  ▲                                                                 │  │
//	  └───────────────────── reply (of the claim) ◀─────────────────────┘  │
//	                                                keeper ── Link ──▶ store ── events ──┘
//
// Requests go down (caller, supervisor or keeper, store), and their sender may wait to be received. Answers go up into channels that
// have room for them, and never wait. So no two owners can wait for each other.
//
//	channel                sent by                        received by      closed by  capacity
//	Supervisor.starts      callers                        Supervisor.run   never      0: the sender is received, or sees done
//	Supervisor.retired     keepers without work           Supervisor.run   never      0: one case of the keeper's select
//	Supervisor.failed      a failed keeper's last act     Supervisor.run   never      0: run always receives
//	Supervisor.inquiries   Close                          Supervisor.run   never      0: run always receives
//	Supervisor.stop        Close                          Supervisor.run   never      1: one wish to close is enough
//	Supervisor.done        -                              callers          run        nothing is sent
//	start.reply            Supervisor.run                 the caller       never      1: one answer
//	inquiry.reply          Supervisor.run                 Close            never      1: one answer
//	keeper.requests        callers, contexts, timers,     keeper.run       never      0: the sender is received, or sees done
//	                       Supervisor.tellClosing, who
//	                       passes hints on, the watcher
//	keeper.events          the store                      keeper.run       never      5: what can be unread (eventRoom)
//	keeper.done            -                              senders          run        nothing is sent
//	Claim.reply            the keeper                     the caller       never      2: one question and the decision (replyRoom); later the
//	                                                                                  outcome of a release
//	await.outcome          the keeper                     whoever waits    never      2: that it is not known yet, and the outcome
//	whoHolds.holding       the keeper                     whoever asks     never      1: one answer
//
// # The keeper
//
// keeper.run (keeper.go) is one select. It gives each message to the machine (machine.go, attempt.go, try.go, hold.go, minhold.go, share.go,
// peers.go), which has no I/O, no clock and no channel: what is known of the server, and a message, give effects and change claims. The keeper
// carries the effects out (perform.go). What is known of the server (server.go) is kept beside the machine, since it stays true when the
// machine fails: the machine works on a copy within a step, and each effect has one as of itself.
//
//	        claim              held by another: it may ask again            failure
//	idle ──────────▶ trying ─────────────────────────▶ pausing ◀─────────────────────────────── waiting
//	 ▲                │ │ ▲                               │                                     ▲    │
//	 │                │ │ └─────── pause is over ─────────┘       held by another: it waits     │    │
//	 │        granted │ └───────────────────────────────────────────────────────────────────────┘    │ granted
//	 │                ▼                                                                              │
//	 │  unlocking ◀── held ◀─────────────────────────────────────────────────────────────────────────┘
//	 └──────┘   release  │▲
//	                     └┘ release while a claim waits: a local hand-off, up to the limits of that
//
// A lock is asked for in a mode, exclusive or shared. One that is shared has any number of holders, who are one lock at the server; others
// join them as long as nobody waits (share.go), and the last to leave unlocks or hands on. A grant in one mode is no grant in the other.
//
// A hold that ends before its minimum (Terms.MinHold) goes from held to kept: the lock is ours and nobody's until the time is over, and then
// unlocking (minhold.go). One that is given back, since nobody has worked under it, has no minimum.
//
// Processes tell each other when to try (peers.go, [Hint]): one that waits tells that it wants the lock and is polled for, rarely; whoever
// holds the lock offers it to the first in the queue as it releases. All hear all hints in one order, so that their queues agree. Who has released
// without knowing of anybody answers one who tells of itself too late. Nothing depends on a hint but how soon a waiter tries.
//
// Where nobody answers within a tenth of a second, since the holder is another program, a waiting key is polled for ([Link].Poll) until there is a session to wait on in the server's queue, for a slice at a time. A claim
// that wants a session to itself pauses until there is one.
//
// # Failures
//
// A keeper's goroutine that ends by a panic or by runtime.Goexit reports to the supervisor, which starts the next incarnation on the
// same channels (recovery.go). It starts from what is known of the server. One restart too many within the window, and the incarnation
// refuses the key until the window has passed.
//
// # What holds
//
//   - A key has one keeper at a time, a keeper one operation at the store at a time, and a lock one holder at a time, or such as share it.
//   - A claim is decided exactly once, and where it was granted it has exactly one outcome, also when the keeper fails.
//   - A holder is told that its hold is over before the lock is anybody else's.
//   - A keeper waits in its select, in coolDown where its key is refused for a while, and to hand a request over: to the store, or as its last act to
//     the supervisor. It runs no code of the user's.
//   - Local waiters are served first come, first served, whatever their modes.
//   - After a failure the lock that the keeper had is released, and confirmed released, before the next grant.
package actor
