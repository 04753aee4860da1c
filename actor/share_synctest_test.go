package actor

import (
	"testing"
	"time"
)

// Readers here and elsewhere share the lock; a writer waits for both, and those who come after it for the writer.
func TestReadersHereAndElsewhere(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.readOutside(1, true)
		a, b := r.acquire(key(1, shared)), r.acquire(key(1, shared))
		if a.Local || !b.Local || a.tenure != b.tenure {
			t.Errorf("the second reader of a process joins the first: by hand %v and %v, by the grants %d and %d", a.Local, b.Local, a.tenure, b.tenure)
		}
		r.submit(key(1, try)).expect(ErrNotAcquired)
		writer, late := r.submit(key(1)), r.submit(key(1, shared))
		r.submit(key(1, shared, try)).expect(ErrNotAcquired)
		r.mustRelease(a)
		r.mustRelease(b)
		sleep(3 * time.Second)
		if isClosed(writer.answered) || isClosed(late.answered) {
			t.Fatal("somebody elsewhere reads, and the writer does not wait, or the reader does not wait behind it")
		}
		r.store.readOutside(1, false)
		if err := writer.wait(); err != nil {
			t.Fatal(err)
		}
		r.mustRelease(writer)
		if err := late.wait(); err != nil {
			t.Fatal(err)
		}
		r.mustRelease(late)
	})
}

// A writer elsewhere has the lock when those have left it who shared it as it was heard of; readers that came then have it after.
func TestAWriterElsewhereIsHeardOf(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		first := r.acquire(key(1, shared))
		r.store.lockOutside(1)
		sleep(askReaders)
		second := r.acquire(key(1, shared)) // it asks
		sleep(ms)
		third := r.submit(key(1, shared))
		r.submit(key(1, shared, try)).expect(ErrNotAcquired)
		r.mustRelease(first)
		sleep(ms)
		if isClosed(third.answered) {
			t.Fatal("a reader has passed a writer elsewhere")
		}
		r.mustRelease(second)
		sleep(ms)
		if isClosed(third.answered) {
			t.Fatal("the writer elsewhere has the lock, and so has a reader")
		}
		r.store.unlockOutside(1)
		if err := third.wait(); err != nil {
			t.Fatal(err)
		}
		r.mustRelease(third)
	})
}
