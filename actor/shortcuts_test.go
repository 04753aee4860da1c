package actor

import (
	"testing"
	"testing/synctest"
)

// A claim goes to its keeper at once where that is known, lets it in, and no earlier one can be on its way by the directory.
func TestShortcut(t *testing.T) {
	const sharesItsPlace = 1 + int64(len(shortcuts{}))
	for name, test := range map[string]struct {
		claim  Terms
		change func(d *Directory, k *keeper)
		found  bool
	}{
		"a key that was claimed a moment ago": {claim: key(1), found: true},
		"another key":                         {claim: key(2)},
		"another key in the same place":       {claim: key(sharesItsPlace)},
		"another name of the same id":         {claim: key(1, func(t *Terms) { t.Name = "another" })},
		"the directory is at work":            {claim: key(1), change: func(d *Directory, _ *keeper) { d.turn.Take() }},
		"something waits for the directory":   {claim: key(1), change: func(d *Directory, _ *keeper) { d.inbox.Post(rare(evEnd)) }},
		"the epoch is over":                   {claim: key(1), change: func(d *Directory, _ *keeper) { d.nextEpoch() }},
		"the keeper is let go of":             {claim: key(1), change: func(_ *Directory, k *keeper) { k.door.shut(1) }},
		"the keeper is not let go of, since it has yet to receive a claim": {claim: key(1),
			change: func(_ *Directory, k *keeper) { k.door.shut(0) }, found: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, handleAll := byHand(t)
				k := useByHand(r, handleAll)
				r.d.turn.Give()
				if test.change != nil {
					test.change(r.d, k)
				}
				switch got := r.d.shortcut(&Claim{Terms: test.claim}); {
				case test.found && got != k:
					t.Errorf("got %v, should be the key's keeper", got)
				case test.found && k.door.entered.Load() != 2:
					t.Errorf("%d claims have entered, should be two", k.door.entered.Load())
				case !test.found && got != nil:
					t.Error("got a keeper")
				}
			})
		})
	}
}

// Once an epoch a key in use is claimed by way of the directory, which would let its keeper go otherwise.
func TestShortcutsKeepNoKeeperFromRetiring(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.mustRelease(r.acquire(key(1)))
		first := r.store.latest[1].observer
		for range 40 {
			sleep(r.d.linger / 4)
			r.mustRelease(r.acquire(key(1)))
		}
		if r.store.latest[1].observer != first {
			t.Error("a keeper in use was let go")
		}
		sleep(2 * r.d.linger)
		if n := r.keys(); n != 0 {
			t.Errorf("%d keys, and none is in use", n)
		}
		for i := range r.d.shortcuts {
			if r.d.shortcuts[i][0].Load() != nil || r.d.shortcuts[i][1].Load() != nil {
				t.Error("a shortcut leads to a keeper that is gone")
			}
		}
	})
}
