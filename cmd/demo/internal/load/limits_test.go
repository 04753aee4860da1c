package load

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

func TestRoomyLimits(t *testing.T) {
	tests := []struct {
		plan Plan
		want worker.Limits
	}{
		{Plan{Work: worker.Work{Workers: 200, Keys: 50}}, worker.Limits{Sessions: 20, Oracle: 4}},
		{Plan{Work: worker.Work{Workers: 200, Keys: 1}}, worker.Limits{Sessions: 5, Oracle: 4}},
		{Plan{Work: worker.Work{Workers: 1, Keys: 50}}, worker.Limits{Sessions: 20, Oracle: 1}},
		{Plan{Work: worker.Work{Workers: 9, Keys: 50}, Sessions: 7}, worker.Limits{Sessions: 7, Oracle: 4}},
		{Plan{Work: worker.Work{Workers: 9, Keys: 50, NoLocks: true}}, worker.Limits{Oracle: 4}},
	}
	for _, tt := range tests {
		if got := tt.plan.roomyLimits(); got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.plan, got, tt.want)
		}
	}
}

func TestFitInto(t *testing.T) {
	plan := Plan{Processes: 4, Work: worker.Work{Workers: 50, Keys: 20}}
	for free := range 200 {
		got, err := plan.fitInto(server.Room{Free: free, Because: "a reason"})
		if free < 4*3 {
			if err == nil || !strings.Contains(err.Error(), "a reason") || !strings.Contains(err.Error(), "12 in all") {
				t.Errorf("%d free: %+v, %v; want an error with the figures", free, got, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d free: %v", free, err)
			continue
		}
		if all := 4 * got.Total(); all > free || got.Sessions < leastSessions || got.Oracle < 1 {
			t.Errorf("%d free: %+v uses %d", free, got, all)
		}
		if free >= 96 && got != plan.roomyLimits() {
			t.Errorf("%d free: %+v, want all that was wanted", free, got)
		}
	}
	// What the user asked for is not made smaller behind their back.
	plan.Sessions = 10
	if _, err := plan.fitInto(server.Room{Free: 4*14 - 1}); err == nil {
		t.Error("too few connections for --sessions 10, and no error")
	}
}
