package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// Check checks the holds that were granted until the given time and are over. On each key it stops before the first hold
// that is still open.
func (b *Book) Check(until int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limits := slices.Repeat([]int64{until}, len(b.keys))
	for _, h := range b.open {
		if h.Granted > 0 {
			limits[h.Key] = min(limits[h.Key], h.Granted-1)
		}
	}
	for key := range b.keys {
		b.checkKey(key, limits[key])
	}
}

// Finish checks the rest and returns the verdict. It is called once, after the last record.
func (b *Book) Finish() *Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &b.verdict
	for _, h := range b.open {
		v.problem("key %d: an acquisition of process %d was never brought to its end", h.Key, h.Process)
	}
	for key := range b.keys {
		b.checkKey(key, never)
	}
	for i := range v.LossList {
		b.judgeLoss(&v.LossList[i])
	}
	for _, f := range b.rules.faults {
		f.Began = time.Duration(max(0, f.Begin-b.start))
		f.Ended = time.Duration(max(0, max(f.Begin, f.Active, f.End)-b.start))
	}
	v.Schedule, v.Losses, v.Overlaps = b.rules.faults, len(v.LossList), len(v.OverlapList)
	v.Stalls, v.LongestStall = b.rules.unplanned()
	if v.Checked < v.Grants-len(v.Problems) {
		v.problem("%d holds were granted and %d were checked", v.Grants, v.Checked)
	}
	return v
}

func (b *Book) judgeLoss(l *Loss) {
	v := &b.verdict
	v.ByCause[l.Cause]++
	l.Stalled = b.rules.stalled(l.hold, l.told)
	f := b.rules.explain(l.hold, l.told, l.cause)
	switch {
	case f != nil:
		l.Fault, l.Kind, l.After = f.N, f.Kind, toldAfter(f, l.told)
		l.Late = !l.Stalled && int64(l.After) > b.rules.trust+slack && f.Kind != plan.FreezeWorker && l.hold.Granted < f.Begin
	case l.Stalled && l.cause == BySilence:
		v.StallLosses++
	default:
		v.FalseLosses = append(v.FalseLosses, *l)
	}
	if l.Late {
		v.LateLosses = append(v.LateLosses, *l)
	}
}

func (b *Book) checkKey(key int, limit int64) {
	k, v := &b.keys[key], &b.verdict
	sortByGrant(k.done)
	n := 0
	for n < len(k.done) && k.done[n].Granted <= limit {
		n++
	}
	// A cut where a hold may still last would hide an overlap from Porcupine, though not from sweep.
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
		v.Windows++
		switch b.rules.linearizable(window) {
		case porcupine.Illegal:
			v.violation("not a lock", key, b.since(window[0].Granted),
				"Porcupine: no order of these %d holds is that of a lock", len(window))
		case porcupine.Unknown:
			v.problem("key %d: Porcupine did not decide a window of %d holds", key, len(window))
		case porcupine.Ok:
		}
	}
}

func sortByGrant(holds []*Hold) {
	slices.SortFunc(holds, func(a, b *Hold) int { return cmp.Compare(a.Granted, b.Granted) })
}

func (b *Book) since(at int64) time.Duration { return time.Duration(at - b.start) }

// sweep compares a hold with the earlier ones that were still believed in when it was granted.
func (b *Book) sweep(k *keyBook, h *Hold) {
	b.verdict.Checked++
	k.active = slices.DeleteFunc(k.active, func(before *Hold) bool { return before.believedUntil() <= h.Granted })
	for _, before := range k.active {
		b.overlap(before, h)
	}
	k.active = append(k.active, h)
	if f := b.rules.lateLook(h); f != nil {
		b.verdict.violation("believed too long", h.Key, b.since(h.Looked),
			"process %d still believed in its hold %v after %s (fault %d), which lasted %v", h.Process,
			time.Duration(h.Looked-f.Active), f.Kind, f.N, time.Duration(f.End-f.Active))
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
	o := Overlap{Key: h.Key, At: b.since(h.Granted), For: time.Duration(until - h.Granted), Processes: [2]int{before.Process, h.Process}}
	f := b.rules.endedByServer(before, h.Granted)
	if f == nil {
		f = b.rules.endedByServer(h, h.Granted)
	}
	switch {
	case f == nil:
		b.verdict.violation("overlap", h.Key, o.At,
			"processes %d and %d both believed that they hold it, for %v, and no fault made the server end a session",
			before.Process, h.Process, o.For)
	case int64(o.For) > b.rules.trust:
		b.verdict.violation("long overlap", h.Key, o.At,
			"processes %d and %d both believed that they hold it, for %v after %s (fault %d): longer than the trust",
			before.Process, h.Process, o.For, f.Kind, f.N)
	}
	if f != nil {
		o.Fault, o.Kind = f.N, f.Kind
	}
	b.verdict.OverlapList = append(b.verdict.OverlapList, o)
}

// zombieBound is how long after its hold's end a write may still be on its way: in the socket of a frozen server or of a
// frozen forwarder.
const zombieBound = int64(15 * time.Second)

// stale judges a write that met another value than its holder had read. Another holder wrote in between. Either its hold
// ended between its last look and its write, which only fencing tokens prevent; or it should not have been there.
func (b *Book) stale(k *keyBook, h *Hold, r *Record) {
	explained := slices.ContainsFunc(k.zombies, func(z *Hold) bool { return z == h || z.WroteFrom <= r.Return }) ||
		slices.ContainsFunc(k.active, func(before *Hold) bool { // an overlap has its own verdict
			return before != h && b.rules.endedByServer(before, h.Granted) != nil
		})
	if explained {
		b.verdict.StaleWrites++
		return
	}
	b.verdict.violation("stale write", h.Key, b.since(r.Return),
		"process %d wrote over a value that it had not read, and no hold was ended that explains it", h.Process)
}
