package pg

import (
	"strconv"
	"strings"
)

// A hint is what managers tell each other about a lock, by NOTIFY. It is a hint of when to try: the advisory lock alone excludes, so a hint
// that is lost, late or wrong costs time and nothing else.

// HintKind says what a hint tells.
type HintKind byte

// The hints.
const (
	// HintWanted: Peers, one alone, waits for the lock.
	HintWanted HintKind = 'w'
	// HintOffered: the lock was released. The first of Peers may try for it; the others wait behind it.
	HintOffered HintKind = 'r'
	// HintHeld: the lock is held by one that knows that Peers wait.
	HintHeld HintKind = 'h'
	// HintShared: the same, of a lock that is shared.
	HintShared HintKind = 's'
)

// Hint is a hint about one lock. Peers are managers, by a number that each has given itself; 0 is this one.
type Hint struct {
	Kind  HintKind
	ID    int64
	Peers []uint32
}

// The text of a NOTIFY: a version, the sender, and hints, with spaces between; a hint is its kind, the id, and the peers, each after a
// colon. Numbers are to the base 36. Of a hint of a kind that is not known nothing is made: a later version may have more.
const (
	hintVersion = "1"
	hintBase    = 36
	// maxHints bounds the text: PostgreSQL takes less than 8,000 bytes.
	maxHints = 7900
	// maxHintPeers bounds one hint, so that any fits: those beyond it are not told, and tell of themselves again.
	maxHintPeers = 200
)

// hintText begins a text.
func hintText(self uint32) []byte {
	return strconv.AppendUint([]byte(hintVersion+" "), uint64(self), hintBase)
}

// append adds a hint to a text, unless that would be too long.
func (n *Hint) append(text []byte, self uint32) (longer []byte, fits bool) {
	longer = strconv.AppendInt(append(text, ' ', byte(n.Kind)), n.ID, hintBase)
	for _, p := range n.Peers[:min(len(n.Peers), maxHintPeers)] {
		if p == 0 {
			p = self
		}
		longer = strconv.AppendUint(append(longer, ':'), uint64(p), hintBase)
	}
	if len(longer) > maxHints {
		return text, false
	}
	return longer, true
}

// parseHints gives the hints of a text, and nothing of one that this manager sent, or that is none.
func parseHints(text string, self uint32, each func(*Hint)) {
	words := strings.Split(text, " ")
	if len(words) < 2 || words[0] != hintVersion {
		return
	}
	if sender, err := strconv.ParseUint(words[1], hintBase, 32); err != nil || uint32(sender) == self {
		return
	}
	for _, word := range words[2:] {
		if n := parseHint(word, self); n != nil {
			each(n)
		}
	}
}

func parseHint(word string, self uint32) *Hint {
	if word == "" {
		return nil
	}
	n := &Hint{Kind: HintKind(word[0])}
	if n.Kind != HintWanted && n.Kind != HintOffered && n.Kind != HintHeld && n.Kind != HintShared {
		return nil
	}
	id, peers, listed := strings.Cut(word[1:], ":")
	var err error
	if n.ID, err = strconv.ParseInt(id, hintBase, 64); err != nil || !listed {
		return nil
	}
	for more := true; more; {
		var peer string
		peer, peers, more = strings.Cut(peers, ":")
		number, err := strconv.ParseUint(peer, hintBase, 32)
		if err != nil || number == 0 || len(n.Peers) == maxHintPeers {
			return nil
		}
		if uint32(number) == self {
			number = 0
		}
		n.Peers = append(n.Peers, uint32(number))
	}
	return n
}
