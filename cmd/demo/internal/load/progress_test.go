package load

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

func TestProgress(t *testing.T) {
	p := progress{
		Tally:   worker.Tally{Counts: worker.Counts{Acquired: 12345, Cancelled: 67}, Waiting: 700, Held: 50, Sessions: 80},
		elapsed: 2500 * time.Millisecond, perSecond: 4938, p50: 48 * time.Millisecond, p99: 1200 * time.Millisecond,
	}
	plain := p.plain(10 * time.Second)
	for _, want := range []string{"2.5 s of 10s", "4,938/s", "acquired 12,345", "waiting 700", "p50 48.0 ms", "p99 1.20 s", "sessions 80", "cancelled 67"} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %q in %q", want, plain)
		}
	}
	if strings.Contains(plain, "failed") {
		t.Errorf("a failure is named where there is none: %q", plain)
	}
	for _, width := range []int{1, 5, 20, 40, 80, 200} {
		for _, line := range p.live(&report.Screen{}, 10*time.Second, width) {
			if len(line) >= width {
				t.Errorf("width %d: the line %q has %d characters", width, line, len(line))
			}
		}
	}
	all := strings.Join(p.live(&report.Screen{}, 10*time.Second, 100), "\n")
	for _, want := range []string{"[==========", "per second", "4,938", "700   holding 50", "p50 48.0 ms   p99 1.20 s", "80 in use", "cancelled 67"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}
