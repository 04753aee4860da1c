// Package event is what chaos records: every operation on a lock, with its beginning, its end and its outcome, on the one
// clock that all processes of a machine share. A worker writes each record before it acts on it, so that of a worker
// that is killed no grant goes missing: what has no end in the record has an unknown one.
package event

import (
	"encoding/binary"
	"errors"
	"io"
)

// Kind says what a record is about.
type Kind uint8

// The kinds of records.
const (
	// Asked: the lock is about to be asked for, at Call.
	Asked Kind = iota + 1
	// Granted: it was granted; the call lasted from Call to Return.
	Granted
	// Refused: it was not; Outcome says how the call from Call to Return ended.
	Refused
	// Held: at Call the handle was asked whether it still holds, and said that it does.
	Held
	// Wrote: the row was written. At Call the handle still said that it holds; at Return the answer was there, or given up.
	Wrote
	// Letting: the lock is about to be released, at Call.
	Letting
	// Let: the release came back; Outcome says how.
	Let
	// Lost: the handle was last seen to hold at Call, and said at Return that it is lost; Cause says why.
	Lost
	// Beat: the recorder is alive at Return.
	Beat
	// Stalled: from Call to Return the process was not given a processor, or the server gave no answer to anybody.
	Stalled
)

// Outcome says how a call ended.
type Outcome uint8

// The outcomes.
const (
	OK        Outcome = iota
	Busy              // TryAcquire met a holder
	Cancelled         // by the load itself: a storm, or a wait timeout
	Failed            // an error that says that nothing happened
	Unknown           // whether it happened is not known
	Gone              // a release that found its lock lost
)

func (o Outcome) String() string {
	return [...]string{"ok", "busy", "cancelled", "failed", "unknown", "lost"}[o]
}

// Cause says why a lock was lost, as its error tells.
type Cause uint8

// The causes.
const (
	NoCause      Cause = iota
	ByServer           // the server ended the session with a word
	ByConnection       // the connection broke
	BySilence          // nothing was heard in time
	ByRecovery         // a standby answered
	ByBackend          // another backend answered
	ByDoubt            // the state of a lock was unknown
	ByKeeper           // the key's keeper panicked
	ByClose            // the manager was closed
	ByOther
)

func (c Cause) String() string {
	return [...]string{"none", "ended by the server", "connection broken", "no answer in time", "server is in recovery",
		"backend changed", "state unknown", "keeper failed", "closed", "something else"}[c]
}

// The flags of a record.
const (
	Try       uint8 = 1 << iota // asked without waiting
	Dedicated                   // on a session of its own
	Torn                        // the value that was written over was not the one that had been read
	Lie                         // the worker only pretends, since it was told to
)

// Record is one line of the history. Handle is unique in a run: see [NewHandle].
type Record struct {
	Kind    Kind
	Outcome Outcome
	Cause   Cause
	Flags   uint8
	Key     uint32
	Handle  uint64
	Call    int64
	Return  int64
}

// Size is a record's length. A pipe takes so little at once or not at all, so that records of many goroutines, and the
// last ones of a killed process, are whole.
const Size = 32

const sequenceBits, processBits = 40, 8

// NewHandle numbers an acquisition: the process, which of its incarnations, and a count.
func NewHandle(process, generation int, n uint64) uint64 {
	return uint64(process)<<(64-processBits) | uint64(generation)<<sequenceBits&(1<<(64-processBits)-1) | n&(1<<sequenceBits-1)
}

// Owner is the process that made the handle, and which of its incarnations.
func (r *Record) Owner() (process, generation int) {
	return int(r.Handle >> (64 - processBits)), int(r.Handle >> sequenceBits & (1<<(64-processBits-sequenceBits) - 1))
}

// Append adds the record's bytes.
func (r *Record) Append(b []byte) []byte {
	b = append(b, byte(r.Kind), byte(r.Outcome), byte(r.Cause), r.Flags)
	b = binary.LittleEndian.AppendUint32(b, r.Key)
	b = binary.LittleEndian.AppendUint64(b, r.Handle)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Call))
	return binary.LittleEndian.AppendUint64(b, uint64(r.Return))
}

func parse(b []byte) Record {
	return Record{
		Kind: Kind(b[0]), Outcome: Outcome(b[1]), Cause: Cause(b[2]), Flags: b[3],
		Key:    binary.LittleEndian.Uint32(b[4:]),
		Handle: binary.LittleEndian.Uint64(b[8:]),
		Call:   int64(binary.LittleEndian.Uint64(b[16:])),
		Return: int64(binary.LittleEndian.Uint64(b[24:])),
	}
}

// ErrBroken is a record that nobody can have written.
var ErrBroken = errors.New("a record of the history is broken")

// Read reads records to the end, which is the writer's, and hands them over as they come.
func Read(r io.Reader, take func([]Record)) error {
	buffer := make([]byte, 1024*Size)
	have := 0
	for {
		n, err := r.Read(buffer[have:])
		have += n
		whole := have - have%Size
		batch := make([]Record, 0, whole/Size)
		for at := 0; at < whole; at += Size {
			record := parse(buffer[at:])
			if record.Kind == 0 || record.Kind > Stalled || record.Outcome > Gone || record.Cause > ByOther {
				return ErrBroken
			}
			batch = append(batch, record)
		}
		have = copy(buffer, buffer[whole:have])
		if len(batch) > 0 {
			take(batch)
		}
		switch {
		case errors.Is(err, io.EOF) && have > 0:
			return ErrBroken
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
