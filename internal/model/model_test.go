package main

import (
	"os"
	"testing"
)

// The quick ones; "make model" runs all.
func TestModel(t *testing.T) {
	if err := available(); err != nil {
		if os.Getenv("CI") != "true" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	for _, c := range checks() {
		if !c.quick {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := c.run(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.judge(r); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d states in %v, found: %q", r.states, r.spent, r.found)
		})
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		finds, found string
		fine         bool
	}{
		{"", "", true}, {"", "oneBelieves", false}, {"oneBelieves", "", false}, {"oneBelieves", "trustEndsFirst", false},
		{"oneBelieves|trustEndsFirst", "trustEndsFirst", true}, {served, served, true},
	} {
		if err := (&check{finds: c.finds}).judge(result{found: c.found}); (err == nil) != c.fine {
			t.Errorf("has to find %q and found %q: %v", c.finds, c.found, err)
		}
	}
}
