package history

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	var all []Record
	var b []byte
	for i := range 3000 {
		r := Record{Kind: Kind(1 + i%9), Outcome: Outcome(i % 6), Cause: Cause(i % 10), Flags: uint8(i), Key: uint32(i * 7919),
			Handle: NewHandle(i%200, i%30000, uint64(i)<<7), Call: int64(i) << 40, Return: -int64(i)}
		if process, generation := r.Owner(); process != i%200 || generation != i%30000 {
			t.Fatalf("%d: of process %d, incarnation %d", i, process, generation)
		}
		all, b = append(all, r), r.Append(b)
	}
	if len(b) != len(all)*Size {
		t.Fatalf("%d bytes", len(b))
	}
	for name, in := range map[string]io.Reader{
		"at once": bytes.NewReader(b), "byte by byte": iotest.OneByteReader(bytes.NewReader(b)),
	} {
		var got []Record
		if err := Read(in, func(r Record) { got = append(got, r) }); err != nil || !slices.Equal(got, all) {
			t.Errorf("%s: %d records of %d, %v", name, len(got), len(all), err)
		}
	}
}

func TestBrokenRecords(t *testing.T) {
	whole := (&Record{Kind: Granted}).Append(nil)
	for name, b := range map[string][]byte{
		"cut short":  whole[:Size-1],
		"no kind":    make([]byte, Size),
		"wrong kind": append([]byte{200}, whole[1:]...),
	} {
		if err := Read(bytes.NewReader(b), func(Record) {}); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
