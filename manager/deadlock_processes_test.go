package manager_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// members starts children that each play a member of circles.
func members(t *testing.T, s *pgserver.Server, n int) []*childtest.Child {
	t.Helper()
	leakFree(t, s)
	all := make([]*childtest.Child, n)
	for i := range all {
		all[i] = childtest.Start(t, "member", dsn(s), fmt.Sprintf("lk member %d", i))
	}
	return all
}

// waited is what a member says of its wait.
type waited struct {
	told        bool
	begin, over time.Time
	text        string
}

func waitOf(t *testing.T, c *childtest.Child) waited {
	t.Helper()
	word, rest, _ := strings.Cut(c.Line(t), " ")
	begin, rest, _ := strings.Cut(rest, " ")
	over, text, _ := strings.Cut(rest, " ")
	if word != "deadlock" && word != "granted" {
		t.Fatalf("the child says %s %s %s %s", word, begin, over, text)
	}
	return waited{word == "deadlock", time.Unix(0, number(t, begin)), time.Unix(0, number(t, over)), text}
}

// Processes that wait for each other in a circle: one is told, and the others go on.
func TestDeadlockOverProcesses(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := server(t)
			all, rounds := members(t, s, n), 2
			if os.Getenv("LOCKKEEPER_STRESS") != "" {
				rounds = 100
			}
			one, late := 0, 0
			var longest, sum time.Duration
			// Where one process stands still for a second, both may be told: then more circles say whether that is always so.
			for round := 0; round < rounds; round++ {
				key := func(i int) string { return fmt.Sprintf("key %d of %d", i%n, round) }
				for i, c := range all {
					c.Say(t, "hold "+key(i))
					expect(t, c, "held")
				}
				for i, c := range all {
					if round%2 == 1 { // else at about the same time
						<-time.After(rand.N(300 * time.Millisecond))
					}
					c.Say(t, "wait "+key(i+1))
				}
				told := 0
				var last, first time.Time
				for i, c := range all {
					got := waitOf(t, c)
					if got.begin.After(last) {
						last = got.begin
					}
					if !got.told {
						continue
					}
					if told++; first.IsZero() || got.over.Before(first) {
						first = got.over
					}
					for _, part := range []string{strconv.Quote(key(i)), strconv.Quote(key(i + 1)), "lk member"} {
						if !strings.Contains(got.text, part) {
							t.Errorf("the error does not name %s: %s", part, got.text)
						}
					}
					if round == 0 {
						t.Log(got.text)
					}
				}
				if told == 0 {
					t.Errorf("round %d: nobody was told", round)
				}
				if told == 1 {
					one++
				}
				if first.Sub(last) > 2*time.Second {
					late++
				}
				longest, sum = max(longest, first.Sub(last)), sum+first.Sub(last)
				if round == rounds-1 && one*2 < rounds && rounds < 10 {
					rounds++
				}
			}
			t.Logf("of %d circles %d had one who gave up; it was told %v after the last wait had begun, %v at the most; %d later than 2 s", rounds, one,
				(sum / time.Duration(rounds)).Round(time.Millisecond), longest.Round(time.Millisecond), late)
			if one*2 < rounds {
				t.Errorf("more than one gave up in %d circles of %d", rounds-one, rounds)
			}
			for _, c := range all {
				ends(t, c)
			}
		})
	}
}

// Locks that are shared are part of circles too.
func TestDeadlockOverProcessesThatShare(t *testing.T) {
	s := server(t)
	for stories := 1; deadlockThatIsShared(t, s) > 1; stories++ { // where one stands still for a second
		if stories == 3 {
			t.Fatal("both were told")
		}
	}
}

// deadlockThatIsShared is how many of a circle were told: one at least.
func deadlockThatIsShared(t *testing.T, s *pgserver.Server) (told int) {
	t.Helper()
	all := members(t, s, 3)
	say := func(i int, line string) {
		t.Helper()
		all[i].Say(t, line)
	}
	hold := func(i int, line string) {
		t.Helper()
		say(i, line)
		expect(t, all[i], "held")
	}
	toldOf := func(member int) int {
		t.Helper()
		if waitOf(t, all[member]).told {
			return 1
		}
		return 0
	}
	hold(0, "share a")
	hold(1, "share a")
	hold(2, "hold b")
	say(0, "wait b")
	say(2, "wait a") // for 0 and 1; of these 1 goes on when it is told to
	told = toldOf(0)
	say(1, "release")
	expect(t, all[1], "released")
	if told += toldOf(2); told == 0 {
		t.Error("nobody was told")
	}
	for _, c := range all {
		ends(t, c)
	}
	return told
}

// Who waits to share a lock waits for all who share it, if somebody is before it who does not share it.
func TestDeadlockOverAQueue(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	a, b := acquire(t, one, "a"), acquireShared(t, two, "b")
	between := acquiring(t.Context(), t, one, "b")
	calls := make(chan error, 2)
	wait := func(lock *manager.Lock, acquire func() (*manager.Lock, error)) {
		inner, err := acquire()
		if err == nil {
			err = inner.Release(context.Background())
		}
		calls <- errors.Join(err, lock.Release(context.Background()))
	}
	go wait(a, func() (*manager.Lock, error) { return one.AcquireShared(a.Context(), "b") })
	go wait(b, func() (*manager.Lock, error) { return two.Acquire(b.Context(), "a") })
	first := ended(t, "the end of one wait", calls)
	release(t, granted(t, between)) // the one who holds nothing gets the lock, sooner or later
	wantIs(t, errors.Join(first, ended(t, "the end of the other", calls)), manager.ErrDeadlock)
}

// A member of a circle is killed: the others go on, by its end or since one of them is told.
func TestKilledMemberOfADeadlock(t *testing.T) {
	s := server(t)
	all := members(t, s, 3)
	for i, c := range all {
		c.Say(t, fmt.Sprint("hold key ", i))
		expect(t, c, "held")
	}
	for i, c := range all {
		c.Say(t, fmt.Sprint("wait key ", (i+1)%len(all)))
	}
	eventually(t, "the circle is shown, or over", func() bool {
		return marks(t, s) > 0 || !all[0].Quiet() || !all[1].Quiet() || !all[2].Quiet()
	})
	all[0].Kill(t)
	for _, c := range all[1:] {
		waitOf(t, c)
	}
	for _, c := range all[1:] {
		ends(t, c)
	}
	eventually(t, "nothing is shown any more", func() bool { return marks(t, s) == 0 })
}

// marks is how many edges are shown at the server.
func marks(t *testing.T, s *pgserver.Server) int64 {
	t.Helper()
	return number(t, query(t, s, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'")[0][0])
}

// childMember holds a lock and waits for another inside of it, as it is told: database, application.
func childMember(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	m, err := manager.Open(ctx, args[0], patientHealth, manager.WithApplicationName(args[1]))
	if err != nil {
		return err
	}
	var held *manager.Lock
	for scanner := bufio.NewScanner(os.Stdin); err == nil && scanner.Scan(); {
		word, key, _ := strings.Cut(scanner.Text(), " ")
		inside := ctx
		if held != nil {
			inside = held.Context()
		}
		switch word {
		case "hold":
			held, err = m.Acquire(ctx, key)
			fmt.Fprintln(os.Stdout, "held")
		case "share":
			held, err = m.AcquireShared(ctx, key)
			fmt.Fprintln(os.Stdout, "held")
		case "release":
			err = held.Release(ctx)
			held = nil
			fmt.Fprintln(os.Stdout, "released")
		default:
			acquire := m.Acquire
			if word == "wait-share" {
				acquire = m.AcquireShared
			}
			begin := time.Now()
			lock, failed := acquire(inside, key)
			word, over := "granted", time.Now()
			if errors.Is(failed, manager.ErrDeadlock) {
				word = "deadlock"
			} else if err = failed; err == nil {
				err = lock.Release(ctx)
			}
			if held != nil {
				err = errors.Join(err, held.Release(ctx))
				held = nil
			}
			fmt.Fprintln(os.Stdout, word, begin.UnixNano(), over.UnixNano(), failed)
		}
	}
	return errors.Join(err, m.Close(ctx))
}

// Four processes take locks in one order, each inside the hold of the last, and wait long for them: nobody is told of a deadlock.
func TestNoDeadlockOverProcessesInOrder(t *testing.T) {
	s := server(t)
	leakFree(t, s)
	d := 2 * time.Second
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		d = time.Minute
	}
	m := openOn(t, s)
	last := []*manager.Lock{acquire(t, m, "level 2, key 0"), acquire(t, m, "level 2, key 1")}
	var all [4]*childtest.Child
	for i := range all {
		all[i] = childtest.Start(t, "ordered", dsn(s), fmt.Sprint(i), d.String())
	}
	eventually(t, "some wait inside of others", func() bool { return queued(t, s, last[0].ID())+queued(t, s, last[1].ID()) > 0 })
	<-time.After(600 * time.Millisecond) // so that they have waited for long, however quick the machine is
	for _, lock := range last {
		release(t, lock)
	}
	var done, long int64
	for i := range 2 * len(all) { // each says twice how far it is
		c := all[i%len(all)]
		words := strings.Fields(c.Line(t))
		if len(words) != 3 || words[0] != "done" {
			t.Fatalf("the child says %q", words)
		}
		done, long = done+number(t, words[1]), long+number(t, words[2])
	}
	t.Logf("%d acquisitions, %d of which waited for longer than 0.5 s inside of another", done, long)
	if done == 0 || long == 0 {
		t.Error("nobody waited for long")
	}
	for _, c := range all {
		ends(t, c)
	}
}

// childOrdered takes locks in order for a while: database, number, how long.
func childOrdered(args []string) error {
	d, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), d+patience)
	defer cancel()
	m, err := manager.Open(ctx, args[0], patientHealth)
	if err != nil {
		return err
	}
	for range 2 {
		err = errors.Join(err, inOrderFor(ctx, m, d/2, seed))
	}
	return errors.Join(err, m.Close(ctx))
}

func inOrderFor(ctx context.Context, m *manager.Manager, d time.Duration, seed uint64) (err error) {
	var done, long atomic.Int64
	const workers = 6
	errs := make(chan error, workers)
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for w := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			for time.Now().Before(end) {
				if err := inOrder(ctx, m, random, 0, &done, &long); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for failed := range errs {
		err = errors.Join(err, failed)
	}
	if err == nil {
		fmt.Fprintln(os.Stdout, "done", done.Load(), long.Load())
	}
	return err
}

// inOrder takes a lock of each level, each inside the hold of the one before.
func inOrder(ctx context.Context, m *manager.Manager, random *rand.Rand, level int, done, long *atomic.Int64) error {
	keys := [...]int{12, 4, 2}
	if level == len(keys) {
		<-time.After(time.Duration(random.Int64N(int64(80 * time.Millisecond))))
		return nil
	}
	begin := time.Now()
	f := func(ctx context.Context) error {
		done.Add(1)
		if level > 0 && time.Since(begin) > 500*time.Millisecond {
			long.Add(1)
		}
		return inOrder(ctx, m, random, level+1, done, long)
	}
	key := fmt.Sprintf("level %d, key %d", level, random.IntN(keys[level]))
	if random.IntN(4) == 0 {
		return m.DoShared(ctx, key, f)
	}
	return m.Do(ctx, key, f)
}
