package history

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
)

// Check checks what was granted until then and is over, as far as nothing that was granted earlier is still open.
func (b *Book) Check(until int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limits := make([]int64, len(b.keys))
	for i := range limits {
		limits[i] = until
	}
	for _, h := range b.open {
		if h.Granted > 0 {
			limits[h.Key] = min(limits[h.Key], h.Granted-1)
		}
	}
	for key := range b.keys {
		b.checkKey(key, limits[key])
	}
}

// Finish checks the rest and returns the verdict. Nothing may be added any more.
func (b *Book) Finish() (*Verdict, *Timeline) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.finished {
		b.finished = true
		for _, h := range b.open {
			b.verdict.problem("key %d: an acquisition of process %d was never brought to its end", h.Key, h.Process)
		}
		for key := range b.keys {
			b.checkKey(key, never)
		}
		b.judgeLosses()
		b.countStalls()
		b.verdict.finish()
	}
	return &b.verdict, &b.timeline
}

func (b *Book) checkKey(key int, limit int64) {
	k := &b.keys[key]
	sortByGrant(k.done)
	n := 0
	for n < len(k.done) && k.done[n].Granted <= limit {
		n++
	}
	// A cut where a hold may still last would hide an overlap from Porcupine, though not from the sweep.
	for limit != never && n > 0 && n < len(k.done) && b.rules.endFrom(k.done[n-1]) > k.done[n].Granted {
		n--
	}
	if n == 0 {
		return
	}
	holds := k.done[:n:n]
	k.done = slices.Clone(k.done[n:])
	k.checked = holds[n-1].Granted
	for _, h := range holds {
		b.sweep(k, h)
	}
	for _, window := range b.rules.windows(holds, windowSize) {
		b.verdict.Windows++
		switch b.rules.linearizable(window) {
		case porcupine.Illegal:
			b.verdict.violation(Violation{Kind: "not a lock", Key: key, At: time.Duration(window[0].Granted - b.start),
				Text: fmt.Sprintf("Porcupine: no order of these %d holds is that of a lock", len(window))})
		case porcupine.Unknown:
			b.verdict.problem("key %d: Porcupine did not decide a window of %d holds", key, len(window))
		case porcupine.Ok:
		}
	}
}

// sweep compares a hold with those before it that were still believed in when it was granted.
func (b *Book) sweep(k *keyBook, h *Hold) {
	b.verdict.Checked++
	k.active = slices.DeleteFunc(k.active, func(before *Hold) bool { return before.believedUntil() <= h.Granted })
	for _, before := range k.active {
		b.overlap(before, h)
	}
	k.active = append(k.active, h)
	if f := b.rules.lateLook(h); f != nil {
		b.verdict.violation(Violation{Kind: "believed too long", Key: h.Key, At: time.Duration(h.Looked - b.start),
			Text: fmt.Sprintf("process %d still believed in its hold %v after %s (fault %d), which lasted %v", h.Process,
				time.Duration(h.Looked-f.Active), f.Kind, f.N, time.Duration(f.End-f.Active))})
	}
	k.zombies = slices.DeleteFunc(k.zombies, func(z *Hold) bool { return z.WroteFrom+zombieBound < h.Granted })
	if !h.clean() {
		k.zombies = append(k.zombies, h)
	}
	for i := range h.torn {
		b.stale(k, h, &h.torn[i])
	}
}

func (b *Book) overlap(before, h *Hold) {
	until := min(before.believedUntil(), h.believedUntil())
	o := Overlap{Key: h.Key, At: time.Duration(h.Granted - b.start), For: time.Duration(until - h.Granted),
		Processes: [2]int{before.Process, h.Process}}
	f := b.rules.endedByServer(before, h.Granted)
	if f == nil {
		f = b.rules.endedByServer(h, h.Granted)
	}
	if f != nil {
		o.Fault, o.Kind = f.N, f.Kind
	}
	switch {
	case f == nil:
		b.verdict.violation(Violation{Kind: "overlap", Key: h.Key, At: o.At, Text: fmt.Sprintf(
			"processes %d and %d both believed that they hold it, for %v, and no fault made the server end a session",
			before.Process, h.Process, o.For)})
	case int64(o.For) > b.rules.trust:
		b.verdict.violation(Violation{Kind: "long overlap", Key: h.Key, At: o.At, Text: fmt.Sprintf(
			"processes %d and %d both believed that they hold it, for %v after %s (fault %d): longer than the trust",
			before.Process, h.Process, o.For, f.Kind, f.N)})
	}
	b.verdict.overlapped(o)
}

// zombieBound is how long after its hold's end a write may still be on its way: a server that was frozen has it in its
// socket, and so has a forwarder.
const zombieBound = int64(15 * time.Second)

// stale judges a write that came upon another value than its holder had read. Somebody else wrote in between: a holder
// whose hold had ended between its last look and its write, which is what fencing tokens are for, or one that should
// not have been there.
func (b *Book) stale(k *keyBook, h *Hold, r *event.Record) {
	for _, z := range k.zombies {
		if z == h || z.WroteFrom <= r.Return {
			b.verdict.StaleExplained++
			return
		}
	}
	for _, before := range k.active { // an overlap, which has its own verdict
		if before != h && b.rules.endedByServer(before, h.Granted) != nil {
			b.verdict.StaleExplained++
			return
		}
	}
	b.verdict.violation(Violation{Kind: "stale write", Key: h.Key, At: time.Duration(r.Return - b.start), Text: fmt.Sprintf(
		"process %d wrote over a value that it had not read, and no hold was ended that explains it", h.Process)})
}
