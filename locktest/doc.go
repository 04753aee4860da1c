// Package locktest is for the tests of programs that use Lockkeeper: locks without a database, faults on demand, and a suite that says
// whether a server keeps what Lockkeeper promises.
//
// # Locks without a database
//
// A [Server] plays PostgreSQL in memory, as far as Lockkeeper asks anything of it. The managers that [Server.Open] opens on it are real ones,
// with all their kinds of locks: only the server at the other end is not. Two managers on one Server exclude each other as two processes on one
// database do. The server has no clock but the program's, so that a test may run in a bubble of testing/synctest.
//
//	m := locktest.Open(t)
//	worker := NewWorker(m) // which takes a manager.Locker
//
// # Faults
//
// [Server.Lose] ends the sessions that hold a lock: its holders are told, as after a restart of the database. [Server.Hang] stops all
// answers, [Server.Refuse] turns new connections away, [Server.Fail] answers each request for a lock with an error, [Server.Delay] makes
// answers late. [Server.Hold] has somebody else hold a lock.
//
// # What it does not do
//
// It has no tables and no transactions: what is done in a transaction of the caller's (AcquireTx, Guard), and tokens (WithFencing, WithTakeoverDelay), need a
// database: Lock.BeginTx and Acquire with a token return an error that says so, as does Open with WithTransactionPooler. Locks by hand, by
// psql or another library, are [Server.Hold]. How long somebody has waited is not in [manager.Manager.Locks], as before PostgreSQL 14.
//
// # The suite
//
// [Conform] runs the promises of Lockkeeper as tests against any server: this one, or yours, with its pooler.
package locktest
