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
// Two steps keep the search short, and change no verdict, which a test tries on random histories. Where an acquisition's
// call comes before all holds that were granted earlier may have ended, and its return after that, its call is moved up to
// there: were its instant before, two would hold at once, or it would do as well later. And a key's history is cut where
// the holds so far may all have ended before the next grant: the cut window ends free, the next one begins free.
package history
