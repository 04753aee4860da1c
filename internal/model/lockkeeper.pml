/*
 * Two processes want one lock of a PostgreSQL server, each on a session of its own, over a network that delays and cuts.
 * docs/model.md says in words what this is a model of, what it leaves out, and which promise each assertion stands for.
 * "make model" checks it. A macro that begins with BROKEN_ puts one fault into the design, which has to be found.
 */

/* Times, in ticks of the clock. */
#ifndef INTERVAL
#define INTERVAL 1 /* the health question is asked when the last answered statement was sent so long ago */
#endif
#ifndef TIMEOUT
#define TIMEOUT 1 /* how long its answer may take */
#endif
#define TRUST (INTERVAL + TIMEOUT)
#ifndef SILENCE
#define SILENCE (TRUST + 1) /* the server ends a session that was silent for so long: then, or at any time later */
#endif
#ifndef TAKEOVER
#define TAKEOVER 0 /* WithTakeoverDelay: how long a grant waits after an unclean end of the hold before; 0 is none */
#endif

/* How many faults there may be in a run, of these kinds; how often each process acquires; and what holders do. */
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef STOPS
#define STOPS 1 /* a process is stopped, and woken at any time later, or never (SIGSTOP, SIGCONT) */
#endif
#ifndef CUTS
#define CUTS 1 /* a connection is cut for good, one way or both */
#endif
#ifndef KILLS
#define KILLS 1 /* the server ends a session for a reason of its own */
#endif
#ifndef DOUBTS
#define DOUBTS 1 /* a process ends a session that the server has still */
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef JOBS
#define JOBS 7 /* 1: a write without a fence; 2: a guarded transaction; 4: a transaction on the lock's own session */
#endif

#define FENCING (JOBS & 2) /* WithFencing */
#ifdef ONE_WORKS /* the other acquires and releases */
#define works runs && p == 0
#else
#define works runs
#endif
#define NONE 2
mtype = { nothing, wait, ask, begin, commit, unlock, undo };           /* statements; an undo unlocks what nobody was told of */
mtype = { wire, running, answered };                                   /* where a statement is */
mtype = { out, wanting, drawing, delaying, held, over, undoing, lost } /* a hold, as its process knows it */

/* The session of process p at the server, and its connection, on which one statement is in the air at a time. */
bool alive[2], killed[2], intx[2], yes[2], cutup[2], cutdown[2];
mtype stmt[2] = nothing, at[2] = wire;
byte idle[2];      /* how long the server has heard nothing on a session that has the lock */
byte owner = NONE; /* the session that has the lock */
bool clean = true; /* the last hold that a caller was told of ended by an unlock */

/* The row of the key's token, and the transactions that have locked it, each on a connection of its caller's. */
byte token = NONE;         /* drawn last by this process */
mtype drawn[2] = nothing;  /* a draw, on another connection than the lock's: nothing, wire, answered */
bool late[2];              /* one that its process does not wait for any more, on its way */
bool guarded[2];

/* Process p, with its caller. */
mtype hold[2] = out, tx[2] = nothing; /* tx: what the caller wants sent on the lock's own session */
bool open[2], hungup[2], stopped[2], finished[2];
byte trust[2]; /* how long ago the last answered statement was sent */
byte air[2];   /* how long ago the one in the air was sent */
byte since[2]; /* how long ago a grant was heard of that waits */
byte looked[2] /* 1: Lock.Err() was nil, and the caller will write; 2: and it was stopped since */

/* What only the assertions look at. */
bool passed[2]; /* a caller has been told of a newer grant than that of process p, by the order of tokens */
byte faults;
bool wasKilled;
/* The names of the assertions: each is false, and shows in the message. */
hidden byte trustEndsFirst, grantHasItsLock, oneBelieves, writeIsInTime, holderIsNotRefused, guardIsInTime, commitIsInTime;

#if TAKEOVER > 0 || defined(CLAIM_KILLED_TOO)
#define EXCEPTED false
#else
#define EXCEPTED (killed[p] || killed[1 - p])
#endif
#ifdef CLAIM_STOPPED_TOO
#define EXCUSED (wasKilled)
#elif TAKEOVER > 0 || defined(CLAIM_KILLED_TOO)
#define EXCUSED (looked[p] == 2)
#else
#define EXCUSED (looked[p] == 2 || wasKilled)
#endif
#define runs (!stopped[p])
#define believes(p) (hold[p] == held && trust[p] < TRUST) /* Lock.Err() == nil */
#define faultAllowed(p) (faults < FAULTS && (p == 0 || faults > 0)) /* the first is process 0's: the two are alike */
#define waitsForWrite(p) (looked[p] == 1 && !stopped[p]) /* no time passes; a session is left by a drain delay later */
#ifdef LIVE
#define sliceOver (air[p] >= 1)
#else
#define sliceOver true /* or something else has ended the wait */
#endif
#define socketClosed (!open[p] || hungup[p])
#ifdef BROKEN_GRANT_UNTRUSTED
#define TRUSTED true
#else
#define TRUSTED (trust[p] < TRUST)
#endif
#ifdef BROKEN_DRAW_WAITS_FOR_NOBODY
#define unguarded true
#else
#define unguarded (!guarded[0] && !guarded[1])
#endif
#define trusts(p) (hold[p] == drawing || hold[p] == delaying || hold[p] == held)
#define free (open[p] && !hungup[p] && stmt[p] == nothing)
#define arrives (at[p] == wire && !cutup[p])
#define arrived (arrives || at[p] == running)

inline send(s) { stmt[p] = s; at[p] = wire; air[p] = 0 }
inline answer(b) { at[p] = answered; yes[p] = b; idle[p] = 0 }
inline landed() { stmt[p] = nothing; at[p] = wire; yes[p] = false; air[p] = 0 }
inline wipe() { landed(); killed[p] = false; cutup[p] = false; cutdown[p] = false; idle[p] = 0 }

/* The server releases the lock, if session p has it. */
inline release() {
	assert(trustEndsFirst || !believes(p) || killed[p]);
	if
	:: owner == p -> owner = NONE; idle[p] = 0
	:: else
	fi
}

/* The server ends session p: it aborts the transaction first, then releases the locks. */
inline end() {
#ifdef BROKEN_LOCKS_FIRST
	if
	:: owner == p && intx[p] -> release()
	:: else ->
#endif
#ifndef BROKEN_TX_ELSEWHERE
	intx[p] = false;
#endif
	clean = clean && owner != p;
	release();
	alive[p] = false;
	if
	:: !open[p] -> wipe()
	:: else
	fi
#ifdef BROKEN_LOCKS_FIRST
	fi
#endif
}

proctype Backend(byte p) {
	do
	:: d_step { alive[p] && stmt[p] == wait && arrived && owner == NONE -> owner = p; answer(true);
#if !FENCING
		token = p; passed[p] = false /* the order of tokens is that of the server's grants */
#endif
		}
	:: d_step { alive[p] && stmt[p] == wait && arrives && owner != NONE -> at[p] = running }
#if FENCING
	:: d_step { drawn[p] == wire && unguarded -> token = p; passed[p] = false; drawn[p] = answered }
	:: d_step { late[p] && unguarded -> late[p] = false; token = NONE } /* a number that nobody is told */
#endif
	:: d_step { alive[p] && at[p] == running && sliceOver -> answer(false) } /* the end of a slice: lock_timeout */
	:: d_step { alive[p] && stmt[p] == ask && arrives -> answer(true) }
	:: d_step { alive[p] && stmt[p] == begin && arrives -> intx[p] = true; answer(true) }
#ifdef BROKEN_TX_ELSEWHERE
	:: d_step { stmt[p] == commit && arrives ->
#else
	:: d_step { alive[p] && stmt[p] == commit && arrives ->
#endif
		assert(commitIsInTime || !intx[p] || owner == p);
		intx[p] = false; answer(true) }
	:: d_step { alive[p] && (stmt[p] == unlock || stmt[p] == undo) && arrives ->
		release();
#ifdef BROKEN_UNDO_IS_CLEAN
		clean = true;
#else
		clean = clean || stmt[p] == unlock;
#endif
		answer(true) }
	:: d_step { alive[p] && (killed[p] || socketClosed && (owner != p || !cutup[p] && (stmt[p] == nothing || at[p] != wire))) -> end() }
#ifndef BROKEN_NO_SILENCE
#ifdef BROKEN_TX_UNBOUNDED
	:: d_step { alive[p] && at[p] != running && idle[p] >= SILENCE && !intx[p] -> end() }
#else
	:: d_step { alive[p] && at[p] != running && idle[p] >= SILENCE -> end() }
#endif
#endif
#ifndef BROKEN_GUARD_UNBOUNDED
	:: d_step { guarded[p] -> guarded[p] = false } /* that transaction's connection ends, or is ended since it is idle */
#endif
	od
}

/* A process tells its caller that it has the lock. */
inline grant() {
	assert(grantHasItsLock || owner == p || killed[p]);
	assert(oneBelieves || !believes(1 - p) || EXCEPTED);
	hold[p] = held; since[p] = 0;
	if
	:: token == p -> passed[1 - p] = true
	:: else
	fi
}

inline withdraw() {
#ifdef LATE_DRAWS
	if
	:: drawn[p] == wire -> late[p] = true
	:: else
	fi;
#endif
	drawn[p] = nothing
}

/* A process believes in its session no more. The caller is told first, then the socket is closed. */
inline lose() {
	if
	:: hold[p] == held -> hold[p] = lost
	:: hold[p] == drawing || hold[p] == delaying || hold[p] == undoing -> hold[p] = wanting
	:: hold[p] == over -> hold[p] = out
	:: else
	fi;
	withdraw(); trust[p] = 0; since[p] = 0; open[p] = false; hungup[p] = false;
	if
	:: !alive[p] -> wipe()
	:: else -> yes[p] = false; air[p] = 0; cutdown[p] = false;
		if
		:: at[p] == answered -> stmt[p] = nothing; at[p] = wire
		:: else
		fi
	fi
}

/* A token has come. */
inline take() {
	drawn[p] = nothing;
	if
#ifndef BROKEN_GRANT_UNTRUSTED
	:: trust[p] >= TRUST -> hold[p] = undoing; trust[p] = 0
#endif
	:: TRUSTED && TAKEOVER > 0 && !clean -> hold[p] = delaying
	:: TRUSTED && (TAKEOVER == 0 || clean) -> grant()
	fi
}

/* An answer has come. */
inline hear() {
#ifdef BROKEN_TRUST_FROM_ANSWER
	air[p] = 0;
#endif
	if
	:: trusts(p) -> trust[p] = air[p]
	:: else
	fi;
	if
	:: stmt[p] == wait && yes[p] -> trust[p] = air[p]; hold[p] = drawing;
#if !FENCING
		take()
#endif
	:: stmt[p] == undo -> hold[p] = wanting
	:: stmt[p] == unlock -> hold[p] = out
	:: stmt[p] == begin || stmt[p] == commit -> tx[p] = nothing
	:: else
	fi;
	landed()
}

proctype Manager(byte p) {
	do
	:: d_step { runs && !open[p] && !alive[p] && hold[p] == wanting -> open[p] = true; alive[p] = true }
	:: d_step { runs && free && hold[p] == wanting -> send(wait) }
#if FENCING
	:: d_step { runs && hold[p] == drawing && drawn[p] == nothing -> drawn[p] = wire }
	:: d_step { runs && hold[p] == drawing && drawn[p] == answered -> take() }
#endif
	:: d_step { runs && free && hold[p] == undoing -> send(undo) }
	:: d_step { runs && free && hold[p] == over -> send(unlock) }
	:: d_step { runs && free && hold[p] == held && tx[p] != nothing -> send(tx[p]) }
#ifdef BROKEN_UNLOCKS_INSIDE
	:: d_step { runs && free && hold[p] == out && tx[p] == commit -> send(commit) }
#endif
	:: d_step { runs && free && trusts(p) && hold[p] != drawing && tx[p] == nothing && trust[p] >= INTERVAL -> send(ask) }
	:: d_step { runs && open[p] && !hungup[p] && at[p] == answered && !cutdown[p] -> hear() }
	:: d_step { runs && open[p] && (hungup[p] || !alive[p] && !cutdown[p] || trust[p] >= TRUST || air[p] >= TRUST) -> lose() }
#if DOUBTS
#ifdef BROKEN_HANGS_UP_FIRST
	:: d_step { runs && open[p] && faultAllowed(p) && !hungup[p] -> faults++; hungup[p] = true }
#elif defined(BROKEN_NO_DRAIN_DELAY)
	:: d_step { runs && open[p] && faults < FAULTS -> faults++; lose() }
#else
	:: d_step { runs && open[p] && faultAllowed(p) && !waitsForWrite(p) -> faults++; lose() }
#endif
#endif
#if TAKEOVER > 0
	:: d_step { runs && hold[p] == delaying && since[p] >= TAKEOVER && trust[p] < TRUST -> grant() }
	:: d_step { runs && hold[p] == delaying -> hold[p] = undoing; trust[p] = 0; since[p] = 0 }
		/* its caller has given up, and the next one wants it */
#endif
	od
}

proctype Worker(byte p) {
	byte rounds;
	do
	:: rounds < ROUNDS ->
		d_step { runs -> hold[p] = wanting; rounds++ };
		runs && (hold[p] == held || hold[p] == lost);
		if
		:: runs /* nothing */
#if JOBS & 1
		:: d_step { works && believes(p) -> looked[p] = 1 };
			d_step { runs -> assert(writeIsInTime || !passed[p] || EXCUSED); looked[p] = 0 }
#endif
#if JOBS & 2
		:: d_step { works ->
#ifdef CLAIM_NEVER_REFUSED
			assert(holderIsNotRefused || token == p || owner != p);
#endif
			if
			:: token == p -> guarded[p] = true
			:: else /* ErrFenced */
			fi };
			d_step { runs -> assert(guardIsInTime || !guarded[p] || !passed[p]); guarded[p] = false }
#endif
#if JOBS & 4
		:: d_step { works -> tx[p] = begin };
			runs && (tx[p] == nothing || hold[p] != held);
#ifdef BROKEN_UNLOCKS_INSIDE
			d_step { runs -> tx[p] = commit; trust[p] = 0;
				if
				:: hold[p] == held -> hold[p] = over
				:: else
				fi };
			d_step { runs && (tx[p] == nothing || !open[p]) -> tx[p] = nothing }
#else
			d_step { runs -> tx[p] = commit };
			d_step { runs && (tx[p] == nothing || hold[p] != held) -> tx[p] = nothing }
#endif
#endif
		fi;
		if
		:: d_step { runs && hold[p] == held -> hold[p] = over; trust[p] = 0 }; runs && hold[p] == out
		:: d_step { runs && hold[p] == lost -> hold[p] = out }
#ifdef BROKEN_UNLOCKS_INSIDE
		:: runs && hold[p] == out
#endif
		fi
	:: else -> break
	od;
	finished[p] = true
}

/* Time passes, at once for everybody, but not between the look and the write of a caller that runs. */
#ifdef BROKEN_CLOCK_STOPS
#define counts runs
#else
#define counts true
#endif
#ifdef LIVE /* a message that is not cut arrives within a tick, and a process that runs sends at once */
#define comes(p) (air[p] >= 1 && (stmt[p] != nothing && at[p] != answered && alive[p] && !cutup[p] || \
	at[p] == answered && open[p] && !stopped[p] && !cutdown[p]))
#define owes(p) (!stopped[p] && open[p] && stmt[p] == nothing && (hold[p] == wanting || hold[p] == over || hold[p] == undoing || hold[p] != drawing && trust[p] >= INTERVAL))
#define draws(p) (hold[p] == drawing && !stopped[p] && drawn[p] != wire || drawn[p] == wire && unguarded)
#define prompt(p) (!comes(p) && !owes(p) && !draws(p))
#else
#define prompt(p) true
#endif

inline older(a, most) {
	if
	:: a < most -> a++
	:: else
	fi
}
inline ages() {
	if
	:: counts ->
		if
		:: trusts(p) -> older(trust[p], TRUST)
		:: else
		fi;
		if
		:: hold[p] == drawing || hold[p] == delaying -> older(since[p], TAKEOVER)
		:: else
		fi;
		if
		:: open[p] && stmt[p] != nothing -> older(air[p], TRUST)
		:: else
		fi
	:: else
	fi;
	if
	:: alive[p] && owner == p -> older(idle[p], SILENCE);
#ifdef SERVER_CLOCK_TWICE_AS_FAST
		older(idle[p], SILENCE)
#endif
	:: else
	fi
}

proctype Clock() {
	byte p;
	do
	:: d_step { !waitsForWrite(0) && !waitsForWrite(1) && prompt(0) && prompt(1) -> p = 0; ages(); p = 1; ages(); p = 0 }
	od
}

proctype Faults(byte p) {
	do
#if STOPS
	:: d_step { faultAllowed(p) && !stopped[p] -> stopped[p] = true; faults++;
		if
		:: looked[p] == 1 -> looked[p] = 2
		:: else
		fi }
	:: d_step { stopped[p] -> stopped[p] = false }
#endif
#if CUTS
	:: d_step { faultAllowed(p) && alive[p] -> faults++; cutup[p] = true }
	:: d_step { faultAllowed(p) && alive[p] -> faults++; cutdown[p] = true }
	:: d_step { faultAllowed(p) && alive[p] -> faults++; cutup[p] = true; cutdown[p] = true }
#endif
#if KILLS
	:: d_step { faultAllowed(p) && alive[p] -> faults++; killed[p] = true; wasKilled = true }
#endif
	:: faults <= FAULTS /* nothing has to happen */
	od
}

init {
	atomic {
		run Backend(0); run Backend(1); run Manager(0); run Manager(1); run Worker(0); run Worker(1);
		run Clock();
#if FAULTS > 0
		run Faults(0);
#endif
#if FAULTS > 1
		run Faults(1)
#endif
	}
}

#ifdef LIVE
ltl served { <>[] ((finished[0] || stopped[0]) && (finished[1] || stopped[1])) }
#endif
