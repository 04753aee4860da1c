package actor

import (
	"slices"

	"pgregory.net/rapid"
)

// The model's part about other processes that wait for the key: what may be told, and that nobody is forgotten.

// others is what may be known of the other processes.
type others struct {
	wait        []Peer // told that they wait, and have been named in no offer since
	responsible bool   // the lock was granted here, or offered to here, and not offered from here since
}

func (w *model) hearsHint(t *rapid.T) {
	peers := rapid.SliceOfNDistinct(rapid.SampledFrom([]Peer{Here, 1, 2, 3}), 1, 4, rapid.ID).Draw(t, "peers")
	n := &Hint{Kind: rapid.SampledFrom([]HintKind{Wanted, Offered, Held, Shared}).Draw(t, "hint"), Peers: peers}
	if n.Kind == Wanted && peers[0] == Here || !w.m.limits.Hints {
		t.Skip("it is our own")
	}
	if n.Kind == Wanted || n.Kind == Offered {
		w.others.hint(n)
		w.others.responsible = w.others.responsible || n.Kind == Offered && n.Peers[0] == Here
	}
	w.step(heard{n})
}

// hint: those in an offer are its first's to tell.
func (o *others) hint(n *Hint) {
	o.wait = slices.DeleteFunc(o.wait, func(p Peer) bool { return slices.Contains(n.Peers, p) })
	for _, p := range n.Peers {
		if n.Kind == Wanted && p != Here {
			o.wait = append(o.wait, p)
		}
	}
}

// tells looks at what an effect tells the others.
func (w *model) tells(fx effect) {
	n := fx.hint
	switch {
	case n == nil && fx.kind == fxTell:
		w.fail("told nothing")
	case n == nil:
		return
	case !w.m.limits.Hints:
		w.fail("a hint, and there are to be none")
	case fx.kind != fxTell && (fx.kind == fxPoll) != (n.Kind == Wanted) || fx.kind == fxUnlock && n.Kind != Offered:
		w.fail("%v with hint %d", fx.kind, n.Kind)
	}
	for i, p := range n.Peers {
		if slices.Contains(n.Peers[:i], p) {
			w.fail("%v names %d twice", n, p)
		}
		if p == Here && !(n.Kind == Wanted && i == 0) && !(n.Kind == Offered && i == len(n.Peers)-1 && i > 0 && len(w.queue) > 0) {
			w.fail("%v names this process", n)
		}
	}
	switch n.Kind {
	case Wanted:
		if n.Peers[0] != Here || len(w.queue) == 0 || w.held {
			w.fail("%v, and nobody here waits", n)
		}
		w.others.responsible = false // the lock is another's, who hears this
	case Offered:
		if w.held && fx.kind != fxUnlock {
			w.fail("%v, and the lock is held", n)
		}
		w.others.hint(n)
		w.others.responsible = false
	case Held, Shared:
		if !w.held || w.busy {
			w.fail("%v, and the lock is not held", n)
		}
		if n.Kind == Shared {
			w.others.wait = nil
		}
	}
}

// lookAtOthers: whoever was told to wait is offered the lock when it is free, by the process that had it last.
func (w *model) lookAtOthers() {
	if p := w.m.peers; w.others.responsible && w.idle() && !w.held && len(w.queue) == 0 && len(w.others.wait) > 0 && !w.closed {
		w.fail("%v wait, and are not told that the lock is free (%+v)", w.others.wait, p)
	}
}
