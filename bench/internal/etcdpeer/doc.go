// Package etcdpeer has locks in etcd, by its own package concurrency.
//
// Its mutexes exclude sessions, not callers: one session excludes nobody from itself. A process has one session, as its
// documentation says ("a lease kept alive for the lifetime of a client"), so callers of one key in a process take turns
// at a local gate first, and one of them at a time asks etcd.
package etcdpeer
