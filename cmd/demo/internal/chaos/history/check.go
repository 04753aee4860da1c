package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// onceKept is how long the runs of a period are waited for: much longer than any process is late.
const onceKept = int64(time.Minute)

// Check checks the holds that were granted until the given time and are over. On each lock it stops before the first hold
// that is still open. The runs of a period are checked together, when it is long over.
func (b *Book) Check(until int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limits := make(map[lock]int64)
	for _, h := range b.open {
		if h.Granted > 0 {
			limit, open := limits[h.lock]
			if !open {
				limit = until
			}
			limits[h.lock] = min(limit, h.Granted-1)
		}
	}
	for l, k := range b.locks {
		limit, open := limits[l]
		switch {
		case l.Period == 0 && open:
			b.checkLock(l, limit)
		case l.Period == 0:
			b.checkLock(l, until)
		case !open && !slices.ContainsFunc(k.done, func(h *Hold) bool { return h.Granted > until-onceKept }):
			b.checkLock(l, never)
			delete(b.locks, l)
		}
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
	for l := range b.locks {
		b.checkLock(l, never)
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

func (b *Book) checkLock(l lock, limit int64) {
	k, v := b.locks[l], &b.verdict
	sortByGrant(k.done)
	// A cut where a hold may still last would hide an overlap from Porcupine, though not from sweep.
	n, end := 0, int64(0)
	for i, h := range k.done {
		if end <= h.Granted {
			n = i
		}
		if h.Granted > limit {
			break
		}
		end = max(end, b.rules.endFrom(h))
		if i == len(k.done)-1 {
			n = i + 1
		}
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
	if l.Period > 0 {
		v.Runs, v.RunsAgain = v.Runs+1, v.RunsAgain+n-1
	}
	for _, window := range b.rules.windows(holds, windowSize) {
		v.Windows++
		switch b.rules.linearizable(window) {
		case porcupine.Illegal:
			v.violation("not a lock", l.Key, b.since(window[0].Granted),
				"Porcupine: no order of these %d holds is that of a lock", len(window))
		case porcupine.Unknown:
			v.problem("key %d: Porcupine did not decide a window of %d holds", l.Key, len(window))
		case porcupine.Ok:
		}
	}
}

func sortByGrant(holds []*Hold) {
	slices.SortFunc(holds, func(a, b *Hold) int { return cmp.Compare(a.Granted, b.Granted) })
}

func (b *Book) since(at int64) time.Duration { return time.Duration(at - b.start) }

// sweep compares a hold with the earlier ones that were still believed in, or kept, when it was granted.
func (b *Book) sweep(k *lockBook, h *Hold) {
	b.verdict.Checked++
	k.active = slices.DeleteFunc(k.active, func(before *Hold) bool {
		return max(before.believedUntil(), b.rules.keptUntil(before)) <= h.Granted
	})
	for _, before := range b.rules.conflicts(k.active, h) {
		b.overlap(before, h)
	}
	k.active = append(k.active, h)
	if f := b.rules.lateLook(h); f != nil {
		b.verdict.violation("believed too long", h.Key, b.since(h.Looked),
			"%v still believed in its hold %v after %s (fault %d), which lasted %v", h,
			time.Duration(h.Looked-f.Active), f.Kind, f.N, time.Duration(f.End-f.Active))
	}
	k.zombies = slices.DeleteFunc(k.zombies, func(z *Hold) bool { return z.mayWriteFrom()+zombieBound < h.Granted })
	if !h.clean() {
		k.zombies = append(k.zombies, h)
	}
	for i := range h.torn {
		b.stale(k, h, &h.torn[i])
	}
}

func (b *Book) overlap(before, h *Hold) {
	if before.believedUntil() <= h.Granted {
		b.verdict.violation("freed too early", h.Key, b.since(h.Granted),
			"%v was granted it within the minimum hold, or the period, of %v, and nothing may have ended its session", h, before)
		return
	}
	until := min(before.believedUntil(), h.believedUntil())
	o := Overlap{Key: h.Key, At: b.since(h.Granted), For: time.Duration(until - h.Granted), Processes: [2]int{before.Process, h.Process}}
	f := b.rules.endedByServer(before, h.Granted)
	if f == nil {
		f = b.rules.endedByServer(h, h.Granted)
	}
	switch {
	case f == nil:
		b.verdict.violation("overlap", h.Key, o.At,
			"%v and %v both believed that they hold it, for %v, and no fault made the server end a session", before, h, o.For)
	case int64(o.For) > b.rules.trust:
		b.verdict.violation("long overlap", h.Key, o.At,
			"%v and %v both believed that they hold it, for %v after %s (fault %d): longer than the trust",
			before, h, o.For, f.Kind, f.N)
	}
	if f != nil {
		o.Fault, o.Kind = f.N, f.Kind
	}
	b.verdict.OverlapList = append(b.verdict.OverlapList, o)
}

// zombieBound is how long after its hold's end a write may still be on its way: in the socket of a frozen server or of a
// frozen forwarder.
const zombieBound = int64(15 * time.Second)

// stale judges a write, or a second look at what is shared, that met another value than its holder had read. Another holder wrote in between. Either its hold
// ended between its last look and its write, which only fencing tokens prevent; or it should not have been there.
func (b *Book) stale(k *lockBook, h *Hold, r *Record) {
	explained := slices.ContainsFunc(k.zombies, func(z *Hold) bool { return z == h || z.mayWriteFrom() <= r.Return }) ||
		slices.ContainsFunc(k.active, func(before *Hold) bool { // an overlap has its own verdict
			return before != h && b.rules.endedByServer(before, h.Granted) != nil
		})
	if explained {
		b.verdict.StaleWrites++
		return
	}
	b.verdict.violation("stale write", h.Key, b.since(r.Return),
		"%v met a value that it had not read, and no hold was ended that explains it", h)
}
