// Package pgserver runs throwaway PostgreSQL servers for this project's tests, demo and benchmarks.
//
// [Start] runs initdb in a temporary folder and starts a server that listens on a unix socket and on a free loopback
// port. The superuser is "lockkeeper", and so is the database. The unix socket asks for no password, since its folder
// is closed to everyone else; TCP asks for a generated one by scram-sha-256, so that a wrong password fails as it
// would in production.
//
// What can be relied on:
//   - Nothing outlives its owner. [Server.Close] stops the server and removes the folder. Where the process dies
//     without calling it (a panic, a test timeout, kill -9), a watchdog does the same within seconds.
//   - No goroutine runs between calls, so a leak detector may look at any time.
//   - Every method returns with its context. A start that fails leaves nothing and returns the end of the server's log.
//   - Started by root, the server runs as the user postgres, or nobody where there is none: PostgreSQL refuses root.
//
// Only the standard library is used, and of PostgreSQL only initdb and postgres: some distributions of the binaries
// have no other program. Unix only; elsewhere Start returns an error.
package pgserver
