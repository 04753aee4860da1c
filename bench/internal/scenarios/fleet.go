package scenarios

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// fleet is some processes with some goroutines each, all of which want one key.
type fleet struct {
	processes, goroutines int
	window                time.Duration // the least
}

const (
	fleetWindow = 2 * time.Second
	fleetWarmup = 500 * time.Millisecond
)

func (f fleet) run(ctx context.Context, s harness.Setup) (result harness.Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // kills what has not ended by itself
	var all []*process
	defer func() {
		for _, p := range all {
			if ended := p.end(); err == nil {
				err = ended
			}
		}
	}()
	for range f.processes {
		p, err := spawn(ctx, s, "crowd")
		if err != nil {
			return result, err
		}
		all = append(all, p)
	}
	// all are told before any answers, so that their windows are the same
	each := func(word string) (answers []answer, err error) {
		for _, p := range all {
			p.tell(word)
		}
		for _, p := range all {
			a, err := p.hear()
			if err != nil {
				return nil, err
			}
			answers = append(answers, a)
		}
		return answers, nil
	}
	if _, err := each("start"); err != nil {
		return result, err
	}
	if err := interrupt.Sleep(ctx, s.Warmup+fleetWarmup); err != nil {
		return result, err
	}
	return s.Measure(func(r *harness.Result) (pairs float64, err error) {
		if _, err := each("measure"); err != nil {
			return 0, err
		}
		began := time.Now()
		// Processes take turns of a hand-off limit each: a short window would count who had one more of them.
		if err := interrupt.Sleep(ctx, max(s.Duration, f.window)); err != nil {
			return 0, err
		}
		took := time.Since(began)
		answers, err := each("stop")
		if err != nil {
			return 0, err
		}
		return collect(r, answers, took)
	})
}

// collect puts the answers of all processes together.
func collect(r *harness.Result, answers []answer, took time.Duration) (pairs float64, err error) {
	var shares []float64
	var longest float64
	for _, a := range answers {
		shares = append(shares, a.Pairs)
		pairs += a.Pairs
		longest = max(longest, a.LongestMS)
		r.P50, r.P99 = max(r.P50, a.P50), max(r.P99, a.P99)
	}
	if pairs == 0 {
		return 0, fmt.Errorf("no pair was finished within %v", took)
	}
	r.PairsPerSecond = pairs / took.Seconds()
	r.Fairness, r.MinShare = jain(shares), minShare(shares)
	r.Extra = map[string]float64{"longest_wait_ms": longest, "longest_wait_quanta": longest / ms(handOffLimit)}
	return pairs, nil
}

func (f fleet) part(ctx context.Context, s harness.Setup, _ string, in io.Reader, out io.Writer) error {
	return serve(ctx, s, f.goroutines, in, out, func(client harness.Client, p *parent) error {
		c := newCrowd(client, harness.Load{Goroutines: f.goroutines, Keys: 1})
		c.timed = true
		for p.words.Scan() {
			a := answer{}
			switch p.words.Text() {
			case "start":
				c.start(ctx)
			case "measure":
				c.phase.Store(measuring)
			case "stop":
				a = c.answer()
			}
			p.say(a)
		}
		c.cancel()
		return c.stop()
	})
}

// answer stops counting and reports what happened in the window.
func (c *crowd) answer() answer {
	end := time.Now()
	c.phase.Store(stopping)
	select {
	case err := <-c.failed:
		return failed(err)
	default:
	}
	r := c.result(time.Second)
	return answer{Pairs: r.PairsPerSecond, P50: r.P50, P99: r.P99, LongestMS: ms(c.longest(end))}
}
