package history

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

func TestATimelineThatLastsLongerFolds(t *testing.T) {
	timeline := newTimeline(&plan.Plan{Duration: 48 * time.Second, Processes: 2, Keys: 2}) // columns of 100 ms
	for at := range int64(100) {
		timeline.grant(&Hold{lock: lock{Key: 1}, Process: int(at % 3)}, at*1000*ms)
	}
	if timeline.Width != 400*time.Millisecond {
		t.Errorf("columns of %v", timeline.Width)
	}
	counts := make([]uint32, 3)
	for i, n := range timeline.Grants[1] {
		counts[i%3] += n
	}
	if counts[0] != 34 || counts[1] != 33 || counts[2] != 33 || timeline.Grants[1][247*3+0] != 1 { // of the 99th second
		t.Errorf("%v, %v", counts, timeline.Grants[1][240*3:])
	}
}
