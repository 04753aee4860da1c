package manager

import (
	"context"
	"hash/maphash"
	"sync"
	"testing"
)

// use joins under a context and leaves, so many times.
func use(ctx context.Context, t *testing.T, rs *registrations, times int) {
	t.Helper()
	for range times {
		var l Lock
		rs.join(ctx, &l)
		if !l.member.Unregister() {
			t.Error("it was not in a registration, and its context has not ended")
		}
	}
}

// Contexts that nobody acquires under any more do not add up, and one in use stays.
func TestKeptRegistrationsAreLetGo(t *testing.T) {
	rs := registrations{seed: maphash.MakeSeed()}
	busy, cancel := context.WithCancel(t.Context())
	defer cancel()
	use(busy, t, &rs, 2)
	var held Lock
	rs.join(busy, &held)
	kept, _ := rs.kept.Load(busy.Done())
	if kept == nil || held.member.in != kept {
		t.Fatal("the second use of a context has not been kept, or not found")
	}
	for range 20 * tidyLeast {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		use(ctx, t, &rs, 2)
	}
	if n := rs.count.Load(); n > 3*tidyLeast {
		t.Errorf("%d are kept", n)
	}
	if still, _ := rs.kept.Load(busy.Done()); still != kept {
		t.Error("one with a member has been let go of")
	}
	rs.close()
	if n := rs.count.Load(); n != 1 {
		t.Errorf("%d are kept at the end, of which one has a member", n)
	}
	held.member.Unregister()
	use(busy, t, &rs, 3)
	if n := rs.count.Load(); n != 0 {
		t.Errorf("%d are kept after the end", n)
	}
}

// A context that is used once is not kept, however many there are.
func TestOneUseIsNotKept(t *testing.T) {
	rs := registrations{seed: maphash.MakeSeed()}
	most := int64(0)
	for range 4 * seenMost {
		ctx, cancel := context.WithCancel(t.Context())
		use(ctx, t, &rs, 1)
		most = max(most, rs.count.Load())
		cancel()
	}
	if most > seenMost/4 { // some share a bit with another
		t.Errorf("%d were kept at one time", most)
	}
}

// Those who come, go and let go at the same time lose nobody and leave nothing.
func TestRegistrationsUnderContention(t *testing.T) {
	rs := registrations{seed: maphash.MakeSeed()}
	var contexts []context.Context
	for range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		contexts = append(contexts, ctx)
	}
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 2000 {
				use(contexts[(g+i)%len(contexts)], t, &rs, 1)
				if i%16 == 0 {
					rs.tidy()
				}
			}
		})
	}
	all.Wait()
	rs.close()
	n := 0
	for range rs.kept.Range {
		n++
	}
	if n != 0 || rs.count.Load() != 0 {
		t.Errorf("%d are left in the table, %d by the count", n, rs.count.Load())
	}
}
