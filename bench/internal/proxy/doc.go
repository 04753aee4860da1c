// Package proxy adds latency between a client and a server on one machine.
//
// Each chunk of bytes is passed on a fixed time after it was read, in both directions, whatever else is under way: the
// delay is that of a longer wire, not of a slower one, so that a client which pipelines loses nothing but the time of
// flight. One thread passes everything on. Since the delay is the same for all, what was read first is due first, and a
// plain queue has the right order.
//
// The waiting is done by the kernel's nanosleep on a thread of its own: Go's timers wake an idle program up to a
// millisecond late, which is more than the delays that are wanted here.
package proxy
