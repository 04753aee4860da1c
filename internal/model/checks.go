package main

// check is one run of the model: with which macros, and what has to come of it.
type check struct {
	name   string
	macros string
	live   bool   // whether everybody is served is looked at, and not the assertions
	finds  string // the assertion that a broken variant violates, or served; empty where nothing may be found
	quick  bool   // it is one of those that "make test" runs
}

const served = "acceptance cycle"

// checks are all of them: first the design as it is, then one broken in each way, which has to be found.
func checks() []check {
	return []check{
		{name: "writes without a fence, any fault", macros: "JOBS=1 FAULTS=1"},
		{name: "guarded transactions, a stop", macros: "JOBS=2 ONE_WORKS " + oneStop},
		{name: "guarded transactions, the server ends a session", macros: "JOBS=2 ONE_WORKS FAULTS=1 STOPS=0 CUTS=0 DOUBTS=0"},
		{name: "guarded transactions, a cut", macros: "JOBS=2 ONE_WORKS FAULTS=1 STOPS=0 KILLS=0 DOUBTS=0"},
		{name: "guarded transactions, draws that come late", macros: "JOBS=2 ONE_WORKS FAULTS=0 LATE_DRAWS"},
		{name: "transactions on the lock's session, any fault", macros: "JOBS=4 FAULTS=1"},
		{name: "transactions on the lock's session, a stop", macros: "JOBS=4 " + oneStop, quick: true},
		{name: "takeover delay as long as the trust, any fault", macros: "JOBS=1 FAULTS=1 TAKEOVER=2"},
		{name: "the server's clock runs twice as fast, its timeout is twice the trust", macros: "JOBS=1 FAULTS=1 INTERVAL=2 SILENCE=6 " + fast},
		{name: "everybody is served, no fault", macros: "JOBS=1 FAULTS=0", live: true, quick: true},
		{name: "everybody is served, any fault", macros: "JOBS=1 FAULTS=1", live: true},
		{name: "everybody is served, stopped for good in a guarded transaction", macros: "JOBS=2 ONE_WORKS " + oneStop, live: true},
		{name: "everybody is served, stopped for good in the lock's transaction", macros: "JOBS=4 " + oneStop, live: true},

		{name: "the server's timeout is shorter than the trust", macros: "JOBS=1 FAULTS=1 SILENCE=1", finds: "trustEndsFirst", quick: true},
		{name: "trust counts from the answer", macros: "JOBS=1 FAULTS=1 BROKEN_TRUST_FROM_ANSWER", finds: "trustEndsFirst"},
		{name: "the socket is closed before the holder is told", macros: "JOBS=1 FAULTS=1 BROKEN_HANGS_UP_FIRST", finds: "trustEndsFirst"},
		{name: "the clock of a stopped process stands still", macros: "JOBS=1 FAULTS=1 BROKEN_CLOCK_STOPS", finds: "trustEndsFirst"},
		{
			name:   "the server's clock runs twice as fast, its timeout is a tick more than the trust",
			macros: "JOBS=1 FAULTS=1 INTERVAL=2 " + fast, finds: "trustEndsFirst",
		},
		{name: "the socket is closed as soon as the holder is told", macros: "JOBS=1 FAULTS=1 BROKEN_NO_DRAIN_DELAY", finds: "writeIsInTime"},
		{name: "a lock is granted without a look at the clock", macros: "JOBS=1 FAULTS=1 BROKEN_GRANT_UNTRUSTED", finds: "grantHasItsLock|trustEndsFirst"},
		{name: "claimed of stopped processes too: no write after a newer grant", macros: "JOBS=1 FAULTS=1 CLAIM_STOPPED_TOO", finds: "writeIsInTime"},
		{name: "claimed where the server ends a session too: one believes", macros: "JOBS=1 FAULTS=1 CLAIM_KILLED_TOO", finds: "oneBelieves"},
		{name: "a draw does not wait for guarded transactions", macros: "JOBS=2 ONE_WORKS FAULTS=1 BROKEN_DRAW_WAITS_FOR_NOBODY", finds: "guardIsInTime", quick: true},
		{name: "claimed: who has the lock is never refused", macros: "JOBS=2 ONE_WORKS FAULTS=1 LATE_DRAWS CLAIM_NEVER_REFUSED", finds: "holderIsNotRefused"},
		{name: "the transaction is on another connection than the lock", macros: "JOBS=4 FAULTS=1 BROKEN_TX_ELSEWHERE", finds: "commitIsInTime", quick: true},
		{name: "the server releases locks before it aborts", macros: "JOBS=4 FAULTS=1 BROKEN_LOCKS_FIRST", finds: "commitIsInTime"},
		{name: "the lock is released inside its transaction", macros: "JOBS=4 FAULTS=1 BROKEN_UNLOCKS_INSIDE", finds: "commitIsInTime"},
		{name: "takeover delay shorter than the trust", macros: "JOBS=1 FAULTS=1 TAKEOVER=1", finds: "oneBelieves"},
		{name: "who gives up during a takeover delay ends it for the next", macros: "JOBS=1 FAULTS=1 TAKEOVER=2 BROKEN_UNDO_IS_CLEAN", finds: "oneBelieves"},
		{name: "the server does not end silent sessions", macros: "JOBS=1 " + oneStop + " BROKEN_NO_SILENCE", live: true, finds: served},
		{name: "nobody ends an idle transaction of the lock's session", macros: "JOBS=4 " + oneStop + " BROKEN_TX_UNBOUNDED", live: true, finds: served},
		{name: "nobody ends an idle guarded transaction", macros: "JOBS=2 ONE_WORKS " + oneStop + " BROKEN_GUARD_UNBOUNDED", live: true, finds: served},
	}
}

const (
	oneStop = "FAULTS=1 CUTS=0 KILLS=0 DOUBTS=0"
	fast    = "SERVER_CLOCK_TWICE_AS_FAST"
)
