package sim_test

import (
	"slices"
	"time"
)

// readersAndWriter lets a writer elsewhere wait for a lock that is shared, and a reader come when it is time to ask about such; then
// another.
func (w *stack) readersAndWriter() {
	i := slices.IndexFunc(w.calls, func(k *call) bool { return k.shared && k.holds() })
	if i < 0 {
		return
	}
	p, key := w.calls[i].p, w.calls[i].key
	served := func(c *wire) bool { return c.canExecute() || c.canDeliver() }
	come := func(p *program, shared bool) {
		k := w.newCall(p, key)
		k.shared = shared
		w.say("%v comes to a lock that is shared", k)
		k.start()
		w.settle()
		w.serve(served)
	}
	come(w.programs[w.src.Pick(len(w.programs))], false)
	w.pass(110 * time.Millisecond)
	for range 1 + w.src.Pick(2) {
		come(p, true)
	}
}
