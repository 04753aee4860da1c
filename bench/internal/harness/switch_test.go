package harness

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheCostOfASwitchIsMeasuredAtBothEnds(t *testing.T) {
	for _, quick := range []bool{false, true} {
		c, n := catalogue(), 0.0
		start := c.Systems[0].Server.Start
		c.Systems[0].Server.Start = func(ctx context.Context) (*Instance, error) {
			s, err := start(ctx)
			s.Switch = func(context.Context) (SwitchCost, error) {
				n++
				return SwitchCost{One: n, Many: 2 * n}, nil
			}
			return s, err
		}
		o, err := Run(t.Context(), c, Plan{Scenarios: []string{"fine"}, Systems: []string{"a"}, Rounds: 1, Slack: time.Minute,
			Quick: quick, Everywhere: true, Limit: time.Hour}, quiet{})
		want := []SwitchCost{{"start", 1, 2}, {"end", 2, 4}}
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
	start := c.Systems[0].Server.Start
	c.Systems[0].Server.Start = func(ctx context.Context) (*Instance, error) {
		s, err := start(ctx)
		s.Switch = func(context.Context) (SwitchCost, error) {
			return SwitchCost{}, errors.New("there is no\npgbench")
		}
		return s, err
	}
	var said []string
	o, err := Run(t.Context(), c, Plan{Scenarios: []string{"fine"}, Systems: []string{"a"}, Rounds: 1, Slack: time.Minute},
		quiet{say: func(text string) { said = append(said, text) }})
	if err != nil || len(o.Measurements) != 1 || len(o.Switch) != 0 {
		t.Errorf("got %+v, %v", o, err)
	}
	said = slices.DeleteFunc(said, func(text string) bool { return !strings.Contains(text, "there is no pgbench") })
	if len(said) != 1 || strings.Contains(said[0], "\n") {
		t.Errorf("it was said in %q", said)
	}
}
