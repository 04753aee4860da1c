// Package oracle judges exclusion from outside the lock manager, in two ways that share nothing with it or with each
// other.
//
// The first is in the database. Each holder reads its key's counter with one statement and writes back the value plus
// one with another. Nothing guards the two but the lock. Had two holders overlapped, one increment would have
// overwritten the other, and the counter would stay below the number of grants. The same UPDATE also counts the writes
// (in the server, atomically) and those whose value was stale when they arrived, so that the verdict stays exact even
// where a worker never heard the answer to its write.
//
// The second is a table of one word per key in memory that all worker processes share: a holder puts its mark in, and
// must find its own mark when it leaves. It sees overlaps that never reach the counter, such as a hold that ends before
// its write, and it costs nothing worth measuring.
package oracle
