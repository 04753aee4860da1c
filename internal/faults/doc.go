// Package faults holds tests alone: the library under every fault that can be caused on one machine, with the parts that
// are in use for real. Servers are killed, frozen, promoted and filled up, the network between two namespaces is cut,
// poolers stand in between, processes are stopped past their lease.
//
// docs/guarantees.md names the test for each fault. Each prints its figures:
//
//	make faults               the short versions, with their figures
//	make faults STRESS=1      as often as docs/guarantees.md says
//
// After each test nothing may be left of it: no goroutine, no socket, no connection and no lock at the server.
package faults
