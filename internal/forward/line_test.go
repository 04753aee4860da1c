package forward

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeClock moves when somebody sleeps, and by nothing else.
type fakeClock struct {
	mu   sync.Mutex
	time time.Duration
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(0, 0).Add(c.time)
}

func (c *fakeClock) sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time += d
}

// book notes when each chunk came out.
type book struct {
	clock *fakeClock
	text  bytes.Buffer
	at    []time.Duration
	ended func()
}

func (b *book) Write(p []byte) (int, error) {
	b.at = append(b.at, b.clock.now().Sub(time.Unix(0, 0)))
	return b.text.Write(p)
}

func (b *book) CloseWrite() error {
	b.ended()
	return nil
}

// record gives a stream whose bytes go to a book. The line is closed at its end.
func record(l *line, c *fakeClock) (*stream, *book) {
	out := &book{clock: c, ended: l.close}
	return &stream{to: out, finished: make(chan struct{})}, out
}

func TestTheDelayIsThatOfALongWireNotOfASlowOne(t *testing.T) {
	c := &fakeClock{}
	const delay, chunks, apart = 3 * time.Second, 1000, 10 * time.Millisecond
	l := newLine(clock{c.now, c.sleep})
	s, out := record(l, c)
	for i := range chunks {
		l.put(s, []byte{byte(i)}, delay)
		c.sleep(apart)
	}
	l.put(s, nil, delay)
	l.run()
	select {
	case <-s.finished:
	default:
		t.Error("the end of the stream did not come through")
	}
	begin := chunks * apart // when the line began to run
	for i := range chunks {
		if want := max(begin, delay+time.Duration(i)*apart); out.at[i] != want || out.text.Bytes()[i] != byte(i) {
			t.Fatalf("chunk %d came out as %d after %v, want %v", i, out.text.Bytes()[i], out.at[i], want)
		}
	}
}

func TestBytesNeverOvertakeEachOtherAndStreamsDo(t *testing.T) {
	c := &fakeClock{}
	l := newLine(clock{c.now, c.sleep})
	slow, first := record(l, c)
	fast, second := record(l, c)
	first.ended = func() {}
	l.put(slow, []byte("a"), 50*time.Millisecond)
	l.put(slow, []byte("b"), 10*time.Millisecond)
	l.put(slow, nil, 0)
	l.put(fast, []byte("c"), 20*time.Millisecond)
	l.put(fast, nil, 60*time.Millisecond)
	l.run()
	if want := []time.Duration{50 * time.Millisecond, 50 * time.Millisecond}; first.text.String() != "ab" || !slices.Equal(first.at, want) {
		t.Errorf("%q at %v, want ab at %v", first.text.String(), first.at, want)
	}
	if want := []time.Duration{20 * time.Millisecond}; second.text.String() != "c" || !slices.Equal(second.at, want) {
		t.Errorf("%q at %v, want c at %v", second.text.String(), second.at, want)
	}
}
