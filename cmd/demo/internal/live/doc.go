// Package live shows a run in browsers while it goes on: one page, and a stream of server-sent events that it draws.
//
//	the run's goroutine ── Publish ──▶ hub (one goroutine) ◀── join, ask, leave ── a goroutine for each browser ── HTTP ──▶ page
//	                                    │  the last events of each name
//	                                    └─ wake, capacity 1 ──▶ each browser's goroutine
//
// The run never waits for a browser. The hub waits for nobody: it keeps a bounded number of events, wakes the browsers' goroutines,
// and answers each with the events that it has not sent yet. A browser that reads slowly misses old events, and its connection is
// closed when a write takes too long. A browser that comes late, or comes back, is sent what the hub still has.
//
// The page takes no input, and no other site can read it: a request must name the server by its address or as localhost, so that a
// foreign name that leads here is refused, and the page may load nothing from elsewhere nor be framed.
package live
