package harness

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A variant's processes run its program, those that a scenario starts too, and know the system by its original's name.
func TestAVariantIsMeasuredByItsProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), otherProgram)
	if err := os.WriteFile(other, text, 0o700); err != nil {
		t.Fatal(err)
	}
	c := catalogue().WithVariant(System{Name: "a@then", Of: "a", Program: other}, self)
	p := Plan{Scenarios: []string{"program"}, Systems: []string{"a", "a@then"}, Rounds: 2, Slack: time.Minute}
	o, err := Run(t.Context(), c, p, quiet{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range o.Measurements {
		got = append(got, m.System)
		want := 0.0
		if m.System == "a@then" {
			want = 11
		}
		if m.Result.PairsPerSecond != want || m.Result.Failed != "" {
			t.Errorf("%s: got %+v, want %v", m.System, m.Result, want)
		}
	}
	if want := []string{"a", "a@then", "a", "a@then"}; !slices.Equal(got, want) {
		t.Errorf("measured %v, want %v", got, want)
	}
}

func TestAVariantTakesPartWhereItsOriginalDoes(t *testing.T) {
	own := catalogue()
	own.Systems = on("here", "lockkeeper", "other")
	own.Scenarios = []Scenario{{Name: "of-it", Systems: []string{"lockkeeper"}}, {Name: "of-the-other", Systems: []string{"other"}}}
	c := own.WithVariant(System{Name: "lockkeeper@then", Of: "lockkeeper"}, "")
	if got, want := c.SystemNames(), []string{"lockkeeper", "lockkeeper@then", "other"}; !slices.Equal(got, want) {
		t.Errorf("systems %v, want %v", got, want)
	}
	if len(own.Systems) != 2 {
		t.Errorf("the catalogue that it was added to has changed: %v", own.Systems)
	}
	for _, quick := range []bool{false, true} { // in a quick run it is a main system, as its original is
		var got []string
		for _, m := range (Plan{Scenarios: c.ScenarioNames(), Systems: c.SystemNames(), Rounds: 1, Quick: quick}).Turns(c) {
			got = append(got, m.Scenario+"/"+m.System)
		}
		want := []string{"of-it/lockkeeper", "of-it/lockkeeper@then", "of-the-other/other"}
		if quick {
			want = want[:2]
		}
		if !slices.Equal(got, want) {
			t.Errorf("quick %v: got %v, want %v", quick, got, want)
		}
	}
}
