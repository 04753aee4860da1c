package worker

import "context"

// share is the time under a lock that is shared: the counter is read, time passes, and the counter is read again. In the
// meantime it must not have changed, and no writer may have been in the shared table. cut is nil, or ends the hold by its
// context.
func (l *load) share(key int, lock lock, cut context.CancelFunc) error {
	l.holding.Add(1)
	defer l.holding.Add(-1)
	readers, before := l.slots.EnterShared(key)
	changed, err := l.readTwice(key, lock)
	writer := l.slots.LeaveShared(key, before)

	met := writer != 0
	end := l.end(lock, met || changed, func() bool { return met && l.slots.HasLost(key, writer) }, cut)
	l.record.note(func(t *Tally) {
		t.MostReaders = max(t.MostReaders, readers)
		count(&t.Keys[key].Overlaps, end.violated && met)
		count(&t.Keys[key].Changed, end.violated && changed)
		count(&t.Met, end.violated)
	})
	return end.failure(err)
}

// readTwice reports whether the key's counter changed between two reads. A reader whose lock has ended reads no more.
func (l *load) readTwice(key int, lock lock) (changed bool, _ error) {
	first, err := l.book.Read(key)
	if err != nil {
		return false, err
	}
	l.pass(lock)
	if held := lock.Err() == nil; !held {
		return false, nil
	}
	last, err := l.book.Read(key)
	if err != nil {
		return false, err
	}
	l.record.note(func(t *Tally) {
		t.Acquired++
		t.Read++
	})
	return last != first, nil
}
