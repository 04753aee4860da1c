package harness

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/pgbench"
	"github.com/lockkeeper/lockkeeper/bench/internal/server"
)

func TestTheCostOfASwitchIsMeasuredAtBothEnds(t *testing.T) {
	for _, quick := range []bool{false, true} {
		c, n := catalogue(), 0.0
		start := c.Kinds[0].Start
		c.Kinds[0].Start = func(ctx context.Context) (*server.Server, error) {
			s, err := start(ctx)
			s.Switch = func(context.Context) (pgbench.Switch, error) {
				n++
				return pgbench.Switch{One: n, Many: 2 * n}, nil
			}
			return s, err
		}
		o, err := Run(t.Context(), c, Plan{Scenarios: []string{"fine"}, Systems: []string{"a"}, Rounds: 1, Slack: time.Minute,
			Quick: quick, Everywhere: true, Limit: time.Hour}, quiet{})
		want := []SwitchCost{{"start", pgbench.Switch{One: 1, Many: 2}}, {"end", pgbench.Switch{One: 2, Many: 4}}}
		if quick {
			want = want[:1]
		}
		if err != nil || !slices.Equal(o.Switch, want) {
			t.Errorf("quick %v: got %+v, %v; want %+v", quick, o.Switch, err, want)
		}
	}
}

func TestWithoutPgbenchTheRunGoesOnAndSaysSoInALine(t *testing.T) {
	c := catalogue()
	start := c.Kinds[0].Start
	c.Kinds[0].Start = func(ctx context.Context) (*server.Server, error) {
		s, err := start(ctx)
		s.Switch = func(context.Context) (pgbench.Switch, error) {
			return pgbench.Switch{}, errors.Join(pgbench.ErrMissing, errors.New("and so on"))
		}
		return s, err
	}
	var said []string
	o, err := Run(t.Context(), c, Plan{Scenarios: []string{"fine"}, Systems: []string{"a"}, Rounds: 1, Slack: time.Minute},
		quiet{say: func(text string) { said = append(said, text) }})
	if err != nil || len(o.Measurements) != 1 || len(o.Switch) != 0 {
		t.Errorf("got %+v, %v", o, err)
	}
	said = slices.DeleteFunc(said, func(text string) bool { return !strings.Contains(text, pgbench.ErrMissing.Error()) })
	if len(said) != 1 || strings.Contains(said[0], "\n") {
		t.Errorf("it was said in %q", said)
	}
}
