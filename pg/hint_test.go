package pg

import (
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

func TestHintsAsText(t *testing.T) {
	all := []Hint{
		{HintWanted, 0, []uint32{0}}, {HintOffered, math.MinInt64, []uint32{7, 0, math.MaxUint32}}, {HintHeld, math.MaxInt64, []uint32{1, 2}},
		{HintShared, -1, []uint32{9}},
	}
	text := hintText(5)
	for i := range all {
		var fits bool
		if text, fits = all[i].append(text, 5); !fits {
			t.Fatal("it does not fit")
		}
	}
	for self, named := range map[uint32]map[uint32]uint32{6: {0: 5}, 9: {0: 5, 9: 0}} { // 0 is what each has for itself
		var got []Hint
		parseHints(string(text), self, func(h *Hint) { got = append(got, *h) })
		for i, h := range all {
			var peers []uint32
			for _, p := range h.Peers {
				if other, is := named[p]; is {
					p = other
				}
				peers = append(peers, p)
			}
			if i >= len(got) || got[i].Kind != h.Kind || got[i].ID != h.ID || !slices.Equal(got[i].Peers, peers) {
				t.Fatalf("%d reads %q as %+v", self, text, got)
			}
		}
	}
	parseHints(string(text), 5, func(h *Hint) { t.Errorf("the sender hears %+v", h) })
}

func TestATextIsNeverTooLong(t *testing.T) {
	h := Hint{HintOffered, math.MinInt64, slices.Repeat([]uint32{math.MaxUint32}, 5000)}
	text, fits := h.append(hintText(math.MaxUint32), math.MaxUint32)
	if !fits || len(text) > maxHints {
		t.Fatalf("one hint of %d bytes: %v", len(text), fits)
	}
	for fits {
		if text, fits = h.append(text, 1); len(text) > maxHints {
			t.Fatalf("%d bytes", len(text))
		}
	}
}

// Whatever comes on the channel, from whomever, gives hints that are whole, or none.
func FuzzHints(f *testing.F) {
	for _, text := range []string{"", "1", "1 5", "1 5 w0:5", "1 5 r-zz:1:2:5 h0:6 s0:6", "2 5 w0:5", "1 z w0:0", "1 5 w:5", "1 5 w0:", "1 5 x0:5 w1:5",
		"1 5 w0", "1 1z141z4 w0:1z141z4", "1 5  w0:5", "1 5 w0:5:" + strings.Repeat("7:", 300)} {
		f.Add(text, uint32(6))
	}
	f.Fuzz(func(t *testing.T, text string, self uint32) {
		parseHints(text, self, func(h *Hint) {
			again, fits := h.append(hintText(self+1), self)
			if len(h.Peers) == 0 || len(h.Peers) > maxHintPeers || !fits || !slices.Contains([]HintKind{HintWanted, HintOffered, HintHeld, HintShared}, h.Kind) {
				t.Fatalf("%+v", h)
			}
			if self == 0 || self == math.MaxUint32 {
				return
			}
			n := 0
			parseHints(string(again), self, func(same *Hint) {
				if n++; same.ID != h.ID || same.Kind != h.Kind || !slices.Equal(same.Peers, h.Peers) {
					t.Fatalf("%+v became %+v", h, same)
				}
			})
			if n != 1 {
				t.Fatalf("%+v became %d hints", h, n)
			}
		})
	})
}

// hearing runs a test with two pools that hear each other, and somebody else's session that holds locks.
func hearing(t *testing.T, test func(t *testing.T, f *fakeServer, one, two *Pool, other *fakeSession, heard func() []Hint)) {
	t.Helper()
	polling(t, Config{}, func(t *testing.T, f *fakeServer, one *Pool, other *fakeSession) {
		t.Helper()
		two := fakePool(t, f, Config{})
		var mu sync.Mutex
		var all []Hint
		one.Hints(func(*Hint) {})
		two.Hints(func(h *Hint) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, *h)
		})
		synctest.Wait()
		test(t, f, one, two, other, func() []Hint {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			got := all
			all = nil
			return got
		})
	})
}

func want(t *testing.T, got []Hint, kind HintKind, ids ...int64) {
	t.Helper()
	for i, h := range got {
		if i >= len(ids) || h.Kind != kind || h.ID != ids[i] {
			t.Fatalf("heard %+v, should be %c of %v", got, kind, ids)
		}
	}
	if len(got) != len(ids) {
		t.Fatalf("heard %+v, should be %c of %v", got, kind, ids)
	}
}

// A poll that is announced is told before it is asked for: whoever has the lock then knows.
func TestAPollIsAnnouncedBeforeItIsAskedFor(t *testing.T) {
	hearing(t, func(t *testing.T, f *fakeServer, one, _ *Pool, other *fakeSession, heard func() []Hint) {
		f.try(other, 1)
		var order []string
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == pgfake.Notify || q.Kind == pgfake.Try || q.Kind == pgfake.Batch {
				order = append(order, q.Kind)
			}
		})
		c := newCaller(1)
		c.r.Announce, c.r.Rarely = true, true
		c.poll(one)
		want(t, heard(), HintWanted, 1)
		wait(5 * time.Millisecond)
		f.onStatement(nil)
		if !slices.Equal(order, []string{pgfake.Notify, pgfake.Try}) {
			t.Errorf("the statements were %v", order)
		}
		f.unlock(other, 1)
		if a := c.await(t); !a.ok {
			t.Errorf("%+v", a)
		}
		c.release(t, one.anyShared())
	})
}

// anyShared is a session of the pool's.
func (p *Pool) anyShared() Session { return (*p.shared.Load())[0] }

// An offer goes right behind the release.
func TestAnOfferFollowsTheRelease(t *testing.T) {
	hearing(t, func(t *testing.T, f *fakeServer, one, _ *Pool, _ *fakeSession, heard func() []Hint) {
		c := newCaller(1)
		a := c.try(t, one)
		var order []string
		f.onStatement(func(_ *fakeSession, q *question) { order = append(order, q.Kind) })
		c.r.Offer = &Hint{HintOffered, 1, []uint32{77, 0}}
		c.release(t, a.session)
		got := heard()
		f.onStatement(nil)
		if want(t, got, HintOffered, 1); !slices.Equal(got[0].Peers, []uint32{77, one.self}) {
			t.Errorf("%+v", got)
		}
		if !slices.Equal(order, []string{pgfake.Unlock, pgfake.Notify}) {
			t.Errorf("the statements were %v", order)
		}
	})
}

// When the session that listened has ended another does, and those who wait are announced again.
func TestAnotherSessionListens(t *testing.T) {
	hearing(t, func(t *testing.T, f *fakeServer, one, two *Pool, other *fakeSession, heard func() []Hint) {
		f.try(other, 1)
		c := newCaller(1)
		c.r.Announce, c.r.Rarely = true, true
		c.poll(two)
		synctest.Wait()
		for _, s := range f.all() {
			if s.listens.Load() && s.PID == two.anyShared().PID() {
				s.conn.Close()
			}
		}
		wait(3 * time.Second)
		f.onStatement(nil)
		one.Tell(&Hint{HintHeld, 1, []uint32{two.self}})
		want(t, heard(), HintHeld, 1)
		f.unlock(other, 1)
		_ = c.await(t)
	})
}

// grows has the pool open another shared session.
type grows struct{}

func (grows) do(p *Pool) { p.open(UseShared) }
func (grows) refuse()    {}

// A session that ends before it has answered that it listens: one other listens in its place.
func TestOneSessionListens(t *testing.T) {
	polling(t, Config{SharedSessions: 3}, func(t *testing.T, f *fakeServer, p *Pool, _ *fakeSession) {
		p.send(grows{})
		p.send(grows{})
		synctest.Wait()
		first := p.first()
		f.onStatement(func(s *fakeSession, q *question) { q.never = q.Kind == pgfake.Listen && s.PID == first.PID() })
		p.Hints(func(*Hint) {})
		synctest.Wait()
		var asked atomic.Int64
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == pgfake.Listen {
				asked.Add(1)
			}
		})
		f.of(t, first).conn.Close()
		receive(t, ended(first))
		wait(time.Second)
		if n := asked.Load(); n != 1 {
			t.Errorf("%d sessions were told to listen in place of one", n)
		}
	})
}

// Polls that end while there is no session to tell of them on are forgotten.
func TestPollsThatNobodyWasToldOfAreForgotten(t *testing.T) {
	p := &Pool{poller: newPoller(), hints: hints{hear: func(*Hint) {}, listener: &Shared{}}}
	p.shared.Store(&[]*Shared{})
	for range 10_000 {
		p.hints.announce(&poll{})
		p.sendHints()
	}
	if n := len(p.hints.fresh); n > 2*maxBatch {
		t.Errorf("%d are kept", n)
	}
}

// A LISTEN that is cancelled, or finds the server out of memory, is sent again after a pause. Those who wait are announced again then.
func TestListenIsTriedAgain(t *testing.T) {
	for _, code := range []string{"57014", "53200"} {
		t.Run(code, func(t *testing.T) {
			polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
				f.try(other, 1)
				begin := time.Now()
				var listens, announced []time.Duration
				f.onStatement(func(_ *fakeSession, q *question) {
					switch q.Kind {
					case pgfake.Listen:
						if listens = append(listens, time.Since(begin)); len(listens) < 3 {
							q.Code, q.answered = code, true
						}
					case pgfake.Notify:
						announced = append(announced, time.Since(begin))
					}
				})
				heard := make(chan Hint, 1)
				p.Hints(func(h *Hint) { heard <- *h })
				c := newCaller(1)
				c.r.Announce, c.r.Rarely = true, true
				c.poll(p)
				wait(10 * time.Second)
				f.onStatement(nil)
				if want := []time.Duration{0, listenAgain, 2 * listenAgain}; !slices.Equal(listens, want) {
					t.Errorf("told to listen at %v", listens)
				}
				if want := []time.Duration{0, 2 * listenAgain}; !slices.Equal(announced, want) {
					t.Errorf("announced at %v", announced)
				}
				two := fakePool(t, f, Config{})
				two.Hints(func(*Hint) {})
				two.Tell(&Hint{HintOffered, 1, []uint32{p.self}})
				if h := receive(t, heard); h.Kind != HintOffered || h.ID != 1 {
					t.Errorf("heard %+v", h)
				}
				f.unlock(other, 1)
				_ = c.await(t)
			})
		})
	}
}

// A server that refuses NOTIFY or LISTEN keeps no hints; nothing else fails.
func TestHintsAreRefused(t *testing.T) {
	for _, kind := range []string{pgfake.Listen, pgfake.Notify} {
		t.Run(kind, func(t *testing.T) {
			polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
				f.try(other, 1)
				f.onStatement(func(_ *fakeSession, q *question) {
					if q.Kind == kind {
						q.Code, q.answered = "42501", true
					}
				})
				p.Hints(func(*Hint) {})
				c := newCaller(1)
				c.r.Announce = true
				c.poll(p)
				wait(time.Second)
				none(t, c.answers, "an answer while the lock is held")
				f.unlock(other, 1)
				a := c.await(t)
				if !a.ok {
					t.Errorf("%+v", a)
				}
				c.release(t, a.session)
				if lost := p.Stats().HintsLost; lost == 0 && kind == pgfake.Notify {
					t.Error("nothing was counted as lost")
				}
			})
		})
	}
}
