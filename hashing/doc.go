// Package hashing turns a lock's name into the 64-bit id that PostgreSQL locks.
//
// An advisory lock is a bigint and nothing else: the server never sees the
// name. Two programs exclude each other exactly when they compute the same id,
// so a [Func] is part of the protocol between them. Every id that this package
// computes is fixed for good: it depends on the bytes of its input alone, not
// on the process, the machine, the Go version or the release of this module,
// and golden values in the tests hold it there.
//
// # Which function
//
//	FNV1a      the default: no allocation, ten nanoseconds for a short name
//	Keyed      names that strangers choose: collisions cannot be prepared
//	Postgres   SQL and other languages take the same lock: hashtextextended
//
// [Namespaced] puts a namespace in front of any of them, so that programs
// which share a database can use the same names without meeting.
//
// # Collisions
//
// Names are unbounded and ids are not, so different names can have one id. A
// collision costs waiting (two names that exclude each other although nobody
// asked for it), never exclusion. Among a million names that nobody chose with
// intent, the chance of a single collision is about one in 37 million. With
// intent it is another matter: FNV-1a collisions can be constructed on any
// computer, and whoever chooses names can then make one of them wait for
// another. The same holds for [Postgres]. Use [Keyed] where names come from
// strangers.
//
// # Changing the function
//
// While one process uses the old function, namespace or secret and another the
// new one, they lock different ids under one name: both hold "the" lock. Either
// stop every user of the old one before the first user of the new one starts,
// or deploy a program in between that locks the ids of both, by [Both]: it runs
// beside either of them, and is to be everywhere before the first user of the
// new one alone starts.
//
// # Which bytes are legal
//
// Every function here accepts every string: the empty one, NUL bytes, invalid
// UTF-8, any length. Nothing is trimmed, folded or normalised: names that look
// alike but differ in one byte (a trailing space, the two spellings of "é") are
// different locks.
//
// # Neighbours in the key space
//
// The ids of one database are shared by everything that takes advisory locks
// with a single bigint there: migration tools use fixed ids, most of them small
// or 32 bits wide. A 64-bit hash meets one of those as rarely as any other
// given number. The two-argument form, pg_advisory_lock(int, int), is a space
// of its own and never meets this one.
package hashing
