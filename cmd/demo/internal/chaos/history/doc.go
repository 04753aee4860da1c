// Package history checks what was recorded of a chaos run.
//
// A hold is believed in from its grant to its end: the call of its release, or the last moment at which its handle still
// said that it holds (lock.Err is looked at all the time). Two holds of one key that are believed in at one time are an
// overlap. It is excused only where a fault made the server end the earlier hold's session, which was then told lost, and
// for no longer than the trust; for silence - a partition, a freeze of either side - nothing is excused.
//
// The same history goes to Porcupine, window by window, with a model of a lock for each key: an acquisition has its
// instant somewhere between its call and its return, and so has the end of a hold: between call and return of its
// release, between the last look that said "held" and the one that said "lost", or, where the server ended the session,
// from that fault on. An operation of unknown outcome (its process was killed, its answer never came) may have happened at
// any later time. An acquisition that may or may not have happened makes no history illegal that is legal without it, so
// it is left out.
//
// # Windows
//
// Two steps keep the search short, and change no verdict. An acquisition cannot have its instant before an earlier hold
// (one whose grant returned before) may end, so its call is moved up to there; were it before, both would hold at once. And
// a key's history is cut where one hold's end may precede the next one's grant: the cut window ends free, the next
// begins free.
package history
