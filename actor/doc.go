// Package actor keeps keys: one keeper each, an owner that holds all of the key's state and takes messages.
//
// # Who does what
//
//	caller ── claim ──▶ Directory ── forwards ──▶ keeper ── Link ──▶ store (a database)
//	   ▲                                            │  ▲               │
//	   └────────────── the answer ──────────────────┘  └── Observer ◀──┘
//
// A [Claim] is one caller's claim on a key: first a waiter, then perhaps the holder. It is answered exactly once, and
// where it was granted it is settled exactly once, also when the keeper panics and when the directory closes.
//
// The keeper's mind is a pure machine (machine.go, attempt.go, hold.go): an event in, effects out, no clock, no I/O. The
// keeper (keeper.go) runs it and carries its effects out; the supervisor (supervisor.go) gives it a new one when it panics;
// the [Directory] knows which key has which keeper, and is the only one that sends it claims.
//
// # The machine
//
//	        claim              held by another: it may ask again            failure
//	idle ──────────▶ trying ─────────────────────────▶ pausing ◀─────────────────────────────── waiting
//	 ▲                │ │ ▲                               │                                     ▲    │
//	 │                │ │ └─────── pause is over ─────────┘       held by another: it waits     │    │
//	 │        granted │ └───────────────────────────────────────────────────────────────────────┘    │ granted
//	 │                ▼                                                                              │
//	 │  unlocking ◀── held ◀─────────────────────────────────────────────────────────────────────────┘
//	 └──────┘   release  │▲
//	                     └┘ release with a waiter in line: handed on, for at most a quantum
//
// Who waits has the store poll ([Link].Poll) until there is a session to wait on in the server's queue, for a slice at a time.
// Who wants a session of its own does not poll: it pauses until there is one.
//
// # What holds
//
//   - A key has one keeper at a time, a keeper one operation at the store at a time, and a lock one holder at a time.
//   - A holder hears that its hold is over before the lock is anybody else's.
//   - A keeper waits for nothing, and a send to it never blocks. A message to a keeper who sleeps is dealt with on its
//     sender's goroutine, which has the turn meanwhile; where there is much to do a goroutine of the keeper's own gets it.
//   - Local waiters are served first come, first served.
//   - After a panic the lock that the keeper had is released, and confirmed released, before the next grant.
//
// The package knows the database only through [Store], which it defines.
package actor
