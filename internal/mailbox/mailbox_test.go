package mailbox

import (
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func drain(m *Mailbox[int]) []int {
	var got []int
	for l := m.Take(); ; {
		v, ok := l.Next()
		if !ok {
			return got
		}
		got = append(got, v)
	}
}

func TestOldestFirst(t *testing.T) {
	m := new(Mailbox[int])
	for i := range 5 {
		m.Post(&Node[int]{Value: i})
	}
	got := drain(m)
	for i, v := range got {
		if v != i {
			t.Fatalf("order %v", got)
		}
	}
	if len(got) != 5 || drain(m) != nil {
		t.Fatalf("took %v", got)
	}
}

func TestSecondPostIsCoalescedUntilTaken(t *testing.T) {
	m := new(Mailbox[int])
	n := &Node[int]{Value: 1}
	if !m.Post(n) || m.Post(n) {
		t.Fatal("the first post must be taken and the second coalesced")
	}
	if got := drain(m); len(got) != 1 {
		t.Fatalf("took %v", got)
	}
	if !m.Post(n) {
		t.Fatal("a node that was taken can be posted again")
	}
	if got := drain(m); len(got) != 1 {
		t.Fatalf("took %v", got)
	}
}

// Many senders, one sleeping receiver: nothing lost, nothing doubled, each sender's order kept, no wake-up missed.
func TestManySenders(t *testing.T) {
	const senders, each = 8, 5000
	type msg struct{ from, seq int }
	m := new(Mailbox[msg])
	var wg sync.WaitGroup
	for from := range senders {
		wg.Go(func() {
			for seq := range each {
				m.Post(&Node[msg]{Value: msg{from, seq}})
			}
		})
	}
	var next [senders]int
	for got := 0; got < senders*each; {
		<-m.Wake()
		for l := m.Take(); ; {
			v, ok := l.Next()
			if !ok {
				break
			}
			if v.seq != next[v.from] {
				t.Fatalf("sender %d: message %d came when %d was due", v.from, v.seq, next[v.from])
			}
			next[v.from]++
			got++
		}
	}
	wg.Wait()
}

// What a coalesced sender wrote before its post must be seen by the receiver (the race detector watches too).
func TestCoalescedPostIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(Mailbox[*[2]int])
		var marks [2]int
		n := &Node[*[2]int]{Value: &marks}
		for i := range marks {
			go func() { marks[i] = 1; m.Post(n) }()
		}
		for seen := 0; seen < 2; {
			<-m.Wake()
			l := m.Take()
			v, _ := l.Next()
			if v == nil {
				continue
			}
			synctest.Wait()
			seen = v[0] + v[1]
		}
	})
}

func BenchmarkPostTake(b *testing.B) {
	m := new(Mailbox[int])
	n := &Node[int]{}
	b.ReportAllocs()
	for b.Loop() {
		m.Post(n)
		l := m.Take()
		l.Next()
	}
}
