package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	onceProcesses = 5
	oncePeriods   = 20
	oncePeriod    = 250 * time.Millisecond
	onceSkew      = 2 * time.Second
)

// Five processes whose clocks differ by up to two seconds call Once at the beginning of each period by their own clock. One of them
// is killed, and the sessions of another are ended: what those two had run may be run again, by one other. Nothing else is.
func TestOnceOverProcesses(t *testing.T) {
	runs := 1
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		runs = 20
	}
	for range runs {
		onceOverProcesses(t)
	}
}

func onceOverProcesses(t *testing.T) {
	t.Helper()
	s := server(t)
	query(t, s, "CREATE TABLE lk_once (child int NOT NULL, period text NOT NULL)")
	defer query(t, s, "DROP TABLE lk_once")
	var children [onceProcesses]*childtest.Child
	for i := range children {
		skew := onceSkew * time.Duration(i) / (onceProcesses - 1)
		children[i] = childtest.Start(t, "once", dsn(s), fmt.Sprint(i), fmt.Sprint(int64(skew)))
	}
	for _, c := range children {
		expect(t, c, "ready")
	}
	begin := time.Now().Add(onceSkew + time.Second)
	for _, c := range children {
		c.Say(t, fmt.Sprint(begin.UnixNano()))
	}
	told := make(map[string]bool) // the periods that a child was told had been run
	var last time.Time            // the last period that the killed child has called for and said so
	const killed, cut = 0, 1
	listen := func(child, lines int) {
		for range lines {
			line := children[child].Line(t)
			if child == killed {
				last = periodOf(t, line[strings.LastIndex(line, " ")+1:])
			}
			if period, ok := strings.CutPrefix(line, "already run "); ok {
				told[period] = true
			} else if !strings.HasPrefix(line, "run ") && (child != cut || !strings.HasPrefix(line, "lost ")) { // while f ran
				t.Errorf("child %d says %q", child, line)
			}
		}
	}
	listen(killed, oncePeriods/3)
	children[killed].Kill(t)
	listen(cut, oncePeriods/2)
	query(t, s, fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lk once %d'", cut))
	listen(cut, oncePeriods-oncePeriods/2)
	for i := cut + 1; i < onceProcesses; i++ {
		listen(i, oncePeriods)
	}
	for _, c := range children[cut:] {
		ends(t, c)
	}
	ran := make(map[string][]int)
	for _, row := range query(t, s, "SELECT period, child FROM lk_once") {
		ran[row[0]] = append(ran[row[0]], int(number(t, row[1])))
	}
	for period, by := range ran {
		others := slices.DeleteFunc(slices.Clone(by), func(child int) bool { return child == killed || child == cut })
		if len(others) > 1 {
			t.Errorf("%s was run by the children %v", period, by)
		}
	}
	var missing []string
	for period := range told {
		if len(ran[period]) == 0 {
			missing = append(missing, period)
		}
	}
	if len(missing) > 1 || len(missing) == 1 && !periodOf(t, missing[0]).After(last) { // one may be the killed child's, which it could not write down
		t.Errorf("%v were called run, and were not; the killed child was heard of last for %v", missing, last)
	}
	if len(ran) < oncePeriods/2 || len(told) < oncePeriods/2 {
		t.Errorf("%d periods were run, and of %d children heard that they had been", len(ran), len(told))
	}
}

func periodOf(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// childOnce calls Once in each period: database, number, how far its clock is ahead. It reads when the first period begins.
func childOnce(args []string) error {
	var n [2]int64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(args[i+1], 10, 64); err != nil {
			return err
		}
	}
	child := n[0]
	clock := func() time.Time { return time.Now().Add(time.Duration(n[1])) }
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// The clocks differ by less. The rest is for a busy machine, which may take long to send what was asked for.
	m, err := manager.Open(ctx, args[0], manager.WithClock(clock), manager.WithClockSkew(onceSkew+patience),
		manager.WithApplicationName(fmt.Sprintf("lk once %d", child)))
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	var at int64
	if _, err := fmt.Fscan(os.Stdin, &at); err != nil {
		return err
	}
	begin := time.Unix(0, at).Truncate(oncePeriod)
	for i := range oncePeriods {
		<-time.After(begin.Add(time.Duration(i) * oncePeriod).Sub(clock()))
		var period string
		err := m.Once(ctx, "job", oncePeriod, func(ctx context.Context) error {
			at, _ := manager.PeriodOf(ctx)
			period = at.UTC().Format(time.RFC3339Nano)
			_, err := conn.Exec(context.WithoutCancel(ctx), "INSERT INTO lk_once VALUES ($1, $2)", child, period)
			return err
		})
		var refused *manager.AcquireError
		switch {
		case err == nil:
			fmt.Fprintln(os.Stdout, "run", period)
		case errors.Is(err, manager.ErrAlreadyRun) && errors.As(err, &refused):
			fmt.Fprintln(os.Stdout, "already run", strings.TrimPrefix(refused.Key, "job@"))
		case errors.Is(err, manager.ErrLost):
			fmt.Fprintln(os.Stdout, "lost", period)
		default:
			fmt.Fprintln(os.Stdout, err)
		}
	}
	_, err = io.Copy(io.Discard, os.Stdin) // what it has run stays its own until all have called
	return errors.Join(err, conn.Close(ctx), m.Close(ctx))
}
