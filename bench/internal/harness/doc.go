// Package harness runs scenarios against systems, in turns.
//
// Each measurement (one scenario, one system, one round) is a process of its own, so that its CPU time, memory and
// goroutines are the system's. The rounds go A B C A B C, so that what changes on the machine meanwhile meets all alike.
// Servers are started once, and latency is added by proxies in the harness's own process, whose CPU time is counted for
// nobody.
//
// A variant of a system is the same harness linked with another version of the system's library. It is another program, and
// the processes of its measurements, with those that they start, run that program.
//
// A process hears of the harness's end by the end of its standard input, and goes. Servers do the same, each in its way.
package harness
