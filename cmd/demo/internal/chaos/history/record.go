package history

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Kind says what a record is about.
type Kind uint8

// The kinds of records.
const (
	Asked   Kind = iota + 1 // the lock is about to be requested, at Call; its key stays locked until Return, whatever its holder does
	Granted                 // it was granted; the call lasted from Call to Return
	Refused                 // it was not granted; Outcome says how the call from Call to Return ended
	Held                    // at Call the handle said that it still holds
	Wrote                   // the row was written: the handle said "held" at Call, the answer came or was given up at Return
	Letting                 // the lock is about to be released, at Call
	Let                     // the release returned; Outcome says how
	Lost                    // the handle last said "held" at Call, and said "lost" at Return; Cause says why
	Reread                  // the row of a key that is shared had changed since it was read; the handle said "held" at Call
	Stalled                 // from Call to Return the process got no processor, or the server answered nobody
)

// Outcome says how a call ended.
type Outcome uint8

// The outcomes.
const (
	OK        Outcome = iota
	Busy              // TryAcquire met a holder
	Cancelled         // by the load itself: a storm, or a wait timeout
	Failed            // an error that says that nothing happened
	Unknown           // it may have happened
	Gone              // a release found its lock lost
	Circle            // ErrDeadlock
)

func (o Outcome) String() string {
	return [...]string{"ok", "busy", "cancelled", "failed", "unknown", "lost", "deadlock"}[o]
}

// Cause says why a lock was lost, according to its error.
type Cause uint8

// The causes.
const (
	NoCause      Cause = iota
	ByServer           // the server ended the session with a message
	ByConnection       // the connection broke
	BySilence          // nothing was heard in time
	ByRecovery         // a standby answered
	ByBackend          // another backend answered
	ByDoubt            // the state of a lock was unknown
	ByKeeper           // the key's keeper panicked
	ByClose            // the manager was closed
	ByStatement        // a statement of its own transaction failed: the library promises nothing about that
	ByOther
)

func (c Cause) String() string {
	return [...]string{"none", "ended by the server", "connection broken", "no answer in time", "server is in recovery",
		"backend changed", "state unknown", "keeper failed", "closed", "statement failed", "something else"}[c]
}

// The flags of a record.
const (
	Try  uint8 = 1 << iota // requested without waiting
	Torn                   // the value that was overwritten was not the value that had been read
)

// Everyone is the room of a key for those who share it.
const Everyone = 1<<16 - 1

// Record is one entry of the history. A worker writes each record before it acts on it, so that a killed worker loses no
// grant. Times are nanoseconds of the machine's monotonic clock, which all processes share.
type Record struct {
	Kind    Kind
	Outcome Outcome
	Cause   Cause
	Flags   uint8
	Use     uint8  // the place in plan.Uses
	Room    uint16 // for how many holders of the same kind the key has room: 1 (also if it is 0), n slots, or Everyone
	Period  uint32 // that Once runs for: each has a lock of its own; else 0
	Key     uint32
	Handle  uint64 // the acquisition, from NewHandle
	Call    int64
	Return  int64
}

// Size is an encoded record's length. A pipe takes up to 4096 bytes in one piece, so that the records of many goroutines, and
// the last ones of a killed process, are whole; those of a set of keys, which are written together, too.
const Size = 39

const sequenceBits, processBits = 40, 8

// NewHandle numbers an acquisition: the process, which of its incarnations, and a count.
func NewHandle(process, generation int, n uint64) uint64 {
	return uint64(process)<<(64-processBits) | uint64(generation)<<sequenceBits&(1<<(64-processBits)-1) | n&(1<<sequenceBits-1)
}

// Owner returns the process that made the handle, and which of its incarnations.
func (r *Record) Owner() (process, generation int) {
	return int(r.Handle >> (64 - processBits)), int(r.Handle >> sequenceBits & (1<<(64-processBits-sequenceBits) - 1))
}

// Append appends the record's bytes.
func (r *Record) Append(b []byte) []byte {
	b, err := binary.Append(b, binary.LittleEndian, r)
	if err != nil {
		panic("BUG: a record has no fixed size: " + err.Error())
	}
	return b
}

// ErrBroken is returned when a record cannot have been written by a worker.
var ErrBroken = errors.New("a record of the history is broken")

// Read passes records on as they come, until the writer closes its end.
func Read(from io.Reader, take func(Record)) error {
	for buffered := bufio.NewReaderSize(from, 1024*Size); ; {
		var r Record
		switch err := binary.Read(buffered, binary.LittleEndian, &r); {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return ErrBroken
		case err != nil:
			return err
		case r.Kind == 0 || r.Kind > Stalled || r.Outcome > Circle || r.Cause > ByOther:
			return ErrBroken
		}
		take(r)
	}
}
