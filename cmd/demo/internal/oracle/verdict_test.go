package oracle

import "testing"

func TestJudge(t *testing.T) {
	tests := []struct {
		name    string
		row     Row
		workers []Seen
		want    Verdict
	}{
		{
			name: "every counter equals its grants",
			row:  Row{N: 7, Writes: 7}, workers: []Seen{{Grants: 3}, {Grants: 4}},
			want: Verdict{Grants: 7, Counted: 7},
		},
		{
			name: "nothing happened",
			row:  Row{}, workers: []Seen{{}, {}},
			want: Verdict{},
		},
		{
			name: "a write swallowed another",
			row:  Row{N: 6, Writes: 7, Torn: 1}, workers: []Seen{{Grants: 3}, {Grants: 4}},
			want: Verdict{Grants: 7, Counted: 6, LostUpdates: 1, Torn: 1, Violations: 1, BadKeys: 1},
		},
		{
			name: "both detectors saw the same overlap: one violation",
			row:  Row{N: 6, Writes: 7, Torn: 1}, workers: []Seen{{Grants: 3, Overlaps: 1}, {Grants: 4}},
			want: Verdict{Grants: 7, Counted: 6, LostUpdates: 1, Torn: 1, Overlaps: 1, Violations: 1, BadKeys: 1},
		},
		{
			name: "a late write of a holder that had lost its lock swallowed two",
			row:  Row{N: 5, Writes: 7, Torn: 1}, workers: []Seen{{Grants: 3, Exposed: 1}, {Grants: 4}},
			want: Verdict{Grants: 7, Counted: 5, LostUpdates: 2, Torn: 1, Violations: 2, Explained: 2, BadKeys: 1},
		},
		{
			name: "more stale writes than holders that lost their lock",
			row:  Row{N: 5, Writes: 7, Torn: 2}, workers: []Seen{{Grants: 3, Exposed: 1}, {Grants: 4}},
			want: Verdict{Grants: 7, Counted: 5, LostUpdates: 2, Torn: 2, Violations: 2, BadKeys: 1},
		},
		{
			name: "a write while the lock was being lost, that did no harm",
			row:  Row{N: 7, Writes: 7}, workers: []Seen{{Grants: 3, Exposed: 1}, {Grants: 4}},
			want: Verdict{Grants: 7, Counted: 7},
		},
		{
			name: "an overlap that the counter did not see",
			row:  Row{N: 7, Writes: 7}, workers: []Seen{{Grants: 3, Overlaps: 2}, {Grants: 4}},
			want: Verdict{Grants: 7, Counted: 7, Overlaps: 2, Violations: 2, BadKeys: 1},
		},
		{
			name: "readers saw the counter change, and the table showed one of them a writer",
			row:  Row{N: 7, Writes: 7}, workers: []Seen{{Grants: 3, Changed: 2, Overlaps: 1}, {Grants: 4, Changed: 1}},
			want: Verdict{Grants: 7, Counted: 7, Changed: 3, Overlaps: 1, Violations: 3, BadKeys: 1},
		},
		{
			name: "readers saw the write of a holder that had lost its lock",
			row:  Row{N: 7, Writes: 7}, workers: []Seen{{Grants: 3, Exposed: 1}, {Grants: 4, Changed: 2}},
			want: Verdict{Grants: 7, Counted: 7, Changed: 2, Violations: 2, Explained: 2, BadKeys: 1},
		},
		{
			name: "readers saw a write whose answer never came",
			row:  Row{N: 8, Writes: 8}, workers: []Seen{{Grants: 3, Uncertain: 1}, {Grants: 4, Changed: 1}},
			want: Verdict{Grants: 7, Resolved: 1, Counted: 8, Changed: 1, Violations: 1, Explained: 1, BadKeys: 1},
		},
		{
			name: "a write in doubt had arrived",
			row:  Row{N: 8, Writes: 8}, workers: []Seen{{Grants: 3, Uncertain: 1}, {Grants: 4}},
			want: Verdict{Grants: 7, Resolved: 1, Counted: 8},
		},
		{
			name: "a write in doubt had not arrived",
			row:  Row{N: 7, Writes: 7}, workers: []Seen{{Grants: 3, Uncertain: 1}, {Grants: 4}},
			want: Verdict{Grants: 7, Counted: 7},
		},
		{
			name: "a write in doubt had arrived and was swallowed",
			row:  Row{N: 7, Writes: 8, Torn: 1}, workers: []Seen{{Grants: 7, Uncertain: 1}},
			want: Verdict{Grants: 7, Resolved: 1, Counted: 7, LostUpdates: 1, Torn: 1, Violations: 1, BadKeys: 1},
		},
		{
			name: "the row has vanished",
			row:  Row{}, workers: []Seen{{Grants: 5}},
			want: Verdict{Grants: 5, LostUpdates: 5, Misfits: 5, Violations: 5, BadKeys: 1},
		},
		{
			name: "somebody else wrote",
			row:  Row{N: 9, Writes: 9}, workers: []Seen{{Grants: 5, Uncertain: 1}},
			want: Verdict{Grants: 5, Resolved: 1, Counted: 9, LostUpdates: 3, Misfits: 3, Violations: 3, BadKeys: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var workers [][]Seen
			for _, w := range tt.workers {
				workers = append(workers, []Seen{w})
			}
			tt.want.Keys, tt.want.Complete = 1, true
			if got := Judge([]Row{tt.row}, workers); got != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestJudgeAddsUpOverKeys(t *testing.T) {
	rows := []Row{{N: 2, Writes: 2}, {N: 1, Writes: 2, Torn: 1}, {N: 1, Writes: 3, Torn: 2}}
	got := Judge(rows, [][]Seen{{{Grants: 1}, {Grants: 1}, {Grants: 1}}, {{Grants: 1}, {Grants: 1}, {Grants: 2}}})
	want := Verdict{Grants: 7, Counted: 4, LostUpdates: 3, Torn: 3, Violations: 3, BadKeys: 2, Keys: 3, Complete: true}
	if got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestJudgeWithoutTheWorkersWord(t *testing.T) {
	got := Judge([]Row{{N: 5, Writes: 5}, {N: 4, Writes: 6, Torn: 3}}, [][]Seen{{{Grants: 5}, {Grants: 6}}, nil})
	want := Verdict{Counted: 9, LostUpdates: 2, Torn: 3, Violations: 3, BadKeys: 1, Keys: 2}
	if got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}
