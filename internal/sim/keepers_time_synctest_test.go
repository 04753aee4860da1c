package sim_test

import "time"

// pass lets time go by. The server looks at its clock on the way: what it frees must be over by then.
func (w *world) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(time.Until(end), w.untilExpiry()))
		w.settle()
	}
}

func (w *world) untilExpiry() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := time.Hour
	for _, s := range w.server.sessions {
		if silent := s.silent.Load(); silent != 0 {
			next = min(next, time.Until(w.start.Add(time.Duration(silent)+serverPatience)))
		}
	}
	return max(next, time.Nanosecond)
}
