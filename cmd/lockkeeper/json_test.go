package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/cmd/lockkeeper/internal/proof"
)

// What programs read stays: a field may be added here, and none taken away or renamed.
func TestFieldsOfJSON(t *testing.T) {
	session := jsonSession{Waited: 1}
	for _, test := range []struct {
		value any
		want  string
	}{
		{identity{}, "classid id key lock_sql objid objsubid transaction_sql try_sql unlock_sql who_sql"},
		{jsonLock{Key: "k", Holders: []jsonSession{session}}, "holders id key waiters"},
		{session, "application client pid session_since shared waited_seconds"},
		{diagnosis{}, "checks serves warnings"},
		{check{Remedy: "r"}, "detail name remedy verdict"},
		{&proof.Result{}, "counted exclusive failures grants interrupted left longest_wait_seconds losses overlaps problem seconds"},
	} {
		text, err := json.Marshal(test.value)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(fields)), " "); got != test.want {
			t.Errorf("%T has %q, want %q", test.value, got, test.want)
		}
	}
}
