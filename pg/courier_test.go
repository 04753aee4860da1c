package pg

import (
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestFramesCountWhatIsAnswered: however the stream is cut into pieces.
func TestFramesCountWhatIsAnswered(t *testing.T) {
	flight := []pgproto3.FrontendMessage{
		&pgproto3.Query{String: "BEGIN"},                                                          // 1
		&pgproto3.Parse{Query: "SELECT 1"}, &pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Sync{}, // 2
		&pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}, // 3
		&pgproto3.Sync{}, // 4
		&pgproto3.Query{String: "COPY x FROM STDIN"}, // 5
		&pgproto3.CopyData{Data: make([]byte, 300)}, &pgproto3.CopyData{}, &pgproto3.CopyDone{},
	}
	var stream []byte
	for _, m := range flight {
		var err error
		if stream, err = m.Encode(stream); err != nil {
			t.Fatal(err)
		}
	}
	for range 2_000 {
		var f frames
		var units int64
		for rest := stream; len(rest) > 0; {
			n := 1 + rand.IntN(min(len(rest), 1+rand.IntN(400)))
			more, goodbye := f.read(rest[:n])
			if goodbye {
				t.Fatal("a goodbye")
			}
			units += more
			rest = rest[n:]
			if len(rest) > 0 && units == 0 && n >= 5 {
				t.Fatal("what has begun is not counted")
			}
		}
		if units != 5 || f.inside() || f.open {
			t.Fatalf("%d, inside a message %v, open %v", units, f.inside(), f.open)
		}
	}
	bye, _ := (&pgproto3.Terminate{}).Encode(nil)
	if _, goodbye := new(frames).read(bye); !goodbye {
		t.Error("a goodbye is not seen")
	}
	if f := new(frames); f.begins('P') != 1 || f.begins('B') != 0 || f.begins('S') != 0 || f.begins('S') != 1 {
		t.Error("what is answered together is not counted once")
	}
}

func TestWhatALoanLeaves(t *testing.T) {
	for text, want := range map[string]error{"1 2": nil, "0 2": errUnlocked, "0 0": errUnlocked, "1 1": errDeallocated} {
		if err := checkBack(text); err != want { //nolint:errorlint // those very values
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, bad := range []string{"", "x", "2 2", "1"} {
		if err := checkBack(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := greeting("6 on", 1); err == nil {
		t.Error("half an answer is taken")
	}
	if versionText("150003") != "15.3" {
		t.Error(versionText("150003"))
	}
}
