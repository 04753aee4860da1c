package actor

// A keeper that has not been used for a while is let go of. The directory looks at those which it has sent no claim for a
// whole epoch. Where one sleeps and has nothing, that is done at once, by the directory as its owner. Otherwise it is asked
// to say when it is idle, which it does but once: to ask again and again would wake every keeper that only holds.

// retireMost is how many are looked at in one turn of the directory, which callers may be waiting for.
const retireMost = 256

// unused reports whether no key was claimed of late. Then the directory's clock stands still, or is about to.
func (d *Directory) unused() bool { return len(d.touched[0])+len(d.touched[1]) == 0 }

func (d *Directory) touch(k *keeper) {
	if k.epoch != d.epoch {
		if d.unused() {
			d.nudge()
		}
		k.epoch = d.epoch
		d.touched[0] = append(d.touched[0], k)
	}
	d.shortcuts.add(k)
}

// nextEpoch has retireSome look at those that were not used in the epoch that ends.
func (d *Directory) nextEpoch() {
	for _, k := range d.touched[0] {
		d.shortcuts.remove(k)
	}
	d.touched[0], d.touched[1], d.touched[2] = d.touched[2][:0], d.touched[0], d.touched[1]
	d.epoch++
	if cap(d.touched[0]) > 1024 && len(d.touched[1]) < cap(d.touched[0])/4 {
		d.touched[0] = nil // a burst of keys is over
	}
}

// retireSome looks at some, and reports whether there are more.
func (d *Directory) retireSome() (more bool) {
	for range retireMost {
		last := len(d.touched[2]) - 1
		if last < 0 {
			return false
		}
		k := d.touched[2][last]
		d.touched[2][last] = nil
		d.touched[2] = d.touched[2][:last]
		if k.epoch == d.epoch-2 && !d.dismiss(k) {
			k.post(rare(evRetire))
		}
	}
	return true
}

// dismiss lets go of a keeper that sleeps and has nothing, and reports whether this is one. Otherwise the keeper is to be
// sent something, since what has come to it meanwhile has yet to be looked at.
func (d *Directory) dismiss(k *keeper) bool {
	if !k.turn.Try() {
		return false
	}
	if !k.inbox.Empty() || !k.idle() || !k.door.shut(k.received) {
		k.turn.Give()
		return false
	}
	k.gone = true // and the turn is kept: nobody acts for this keeper again
	k.letGoOfAll()
	d.forget(k)
	d.running--
	return true
}

// retirable takes a keeper's word that it is idle, unless a claim has entered since.
func (d *Directory) retirable(k *keeper) {
	if d.keys[k.id] == k && k.door.shut(k.seen.Load()) {
		d.forget(k)
		k.post(rare(evDismiss))
	}
}

func (d *Directory) forget(k *keeper) {
	delete(d.keys, k.id)
	if len(d.keys) == 0 {
		d.keys = make(map[int64]*keeper) // a map keeps the room of its largest size
	}
	d.Counters.Keys.Add(-1)
}
