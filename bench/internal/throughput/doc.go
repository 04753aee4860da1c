// Package throughput has the scenarios in which goroutines take and release locks as fast as they can.
//
// It is a closed loop: each goroutine begins the next pair when the one before is done. The latency is that of the
// acquisition. A goroutine's context is its own, as that of a request would be.
package throughput
