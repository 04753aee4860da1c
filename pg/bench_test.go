package pg

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

var batchSizes = []int{1, 10, 100, maxBatch}

// batchOf makes a statement of so many entries, half of them unlocks as under load. One alone is a try.
func batchOf(n int) *sending {
	f := &sending{kind: kindLocks, unlocks: n / 2, scope: newConnectionScope(&Config{})}
	for i := range n {
		op := OpTry
		if i < f.unlocks {
			op = OpUnlock
		}
		f.entries = append(f.entries, entry{id: int64(uint64(i+1) * 0x9E3779B97F4A7C15), op: op})
	}
	return f
}

func perLock(b *testing.B, n int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/lock")
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range batchSizes {
		b.Run(fmt.Sprintf("locks=%d", n), func(b *testing.B) {
			e, f := &encoder{scope: newConnectionScope(&Config{})}, batchOf(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.encode(e); err != nil {
					b.Fatal(err)
				}
			}
			perLock(b, n)
		})
	}
}

// endless is an answer that comes again and again.
type endless struct {
	answer []byte
	rest   []byte
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		e.rest = e.answer
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range batchSizes {
		b.Run(fmt.Sprintf("locks=%d", n), func(b *testing.B) {
			f := batchOf(n)
			columns := [][]byte{bytes.Repeat([]byte("t"), f.unlocks), bytes.Repeat([]byte("t"), n-f.unlocks)}
			if f.single = n == 1; f.single {
				columns = [][]byte{{1}}
			}
			var answer []byte
			for _, m := range answerTo('I', columns) {
				var err error
				if answer, err = m.Encode(answer); err != nil {
					b.Fatal(err)
				}
			}
			front := pgproto3.NewFrontend(&endless{answer: answer}, nil)
			b.ReportAllocs()
			for b.Loop() {
				f.rows, f.completed, f.letters = 0, false, f.letters[:0]
				for done := false; !done; {
					message, err := front.Receive()
					if err != nil {
						b.Fatal(err)
					}
					done = f.receive(message)
				}
				if f.check(); f.broken != nil {
					b.Fatal(f.broken)
				}
			}
			perLock(b, n)
		})
	}
}

// bell is a client that only wants to know that its answer is there.
type bell struct {
	r    Request
	rung chan bool // capacity 1: the answer
}

func newBell(id int64) *bell {
	c := &bell{rung: make(chan bool, 1)}
	c.r.ID, c.r.Client = id, c
	return c
}

func (c *bell) Done(r *Request)     { c.rung <- r.OK && r.Err == nil }
func (c *bell) Lost(Session, int64) {}

// pair takes the lock and releases it.
func (c *bell) pair(p *Pool) bool {
	p.Try(&c.r)
	if !<-c.rung {
		return false
	}
	c.r.Op = OpUnlock
	c.r.Session.Submit(&c.r)
	return <-c.rung
}

// Against a real server: a pair is two round trips, which callers at the same time share.
func BenchmarkSession(b *testing.B) {
	for _, callers := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			server, name := pgtest.NewDatabase(b)
			config := quick()
			config.SharedSessions = 1
			p := openDSN(b, server.DSNOf(name), config)
			failed := make(chan int64, callers)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range callers {
				go func() {
					c := newBell(int64(i))
					for n := i; n < b.N; n += callers {
						if !c.pair(p) {
							failed <- c.r.ID
							return
						}
					}
					failed <- -1
				}()
			}
			for range callers {
				if id := <-failed; id >= 0 {
					b.Errorf("lock %d was not granted or not released", id)
				}
			}
		})
	}
}
