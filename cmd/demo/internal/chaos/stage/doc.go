// Package stage is what a chaos run takes place on: two servers, worker processes each in a network namespace of its own
// where that is possible, and forwarders before some of them.
//
// Nothing of it outlives the run. Worker, forwarder and namespace processes end with their standard input, which is the
// parent's; a namespace, its packet filter and its interface go with the last process in it, so that not even kill -9
// leaves a rule behind; and the servers have a watchdog each. Processes that are stopped when their parent dies are
// woken by the kernel, which does so for the process groups that it orphans.
package stage
