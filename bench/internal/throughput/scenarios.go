package throughput

import (
	"context"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// RTT is what the proxy adds where a scenario asks for it: that of a database in the same region.
const RTT = 500 * time.Microsecond

// Scenarios are those of this package.
func Scenarios() []scenario.Scenario {
	return []scenario.Scenario{
		of("lone", "1 goroutine, 1 key", 0, Load{Goroutines: 1, Keys: 1}),
		distinct(10, 0),
		distinct(100, 0),
		distinct(1000, 0),
		distinct(10_000, 0),
		of("lone-rtt", "1 goroutine, 1 key, 0.5 ms away", RTT, Load{Goroutines: 1, Keys: 1}),
		distinct(1000, RTT),
		of("one-key-100", "100 goroutines, all on one key", 0, Load{Goroutines: 100, Keys: 1}),
		of("zipf", "1,000 goroutines over 100,000 keys, skew 1.1", 0, Load{Goroutines: 1000, Keys: 100_000, Skew: 1.1}),
	}
}

func distinct(n int, rtt time.Duration) scenario.Scenario {
	name, text := fmt.Sprintf("distinct-%d", n), fmt.Sprintf("%d goroutines, each its own key", n)
	if rtt > 0 {
		name, text = name+"-rtt", text+", 0.5 ms away"
	}
	return of(name, text, rtt, Load{Goroutines: n, Keys: n})
}

func of(name, text string, rtt time.Duration, l Load) scenario.Scenario {
	return scenario.Scenario{Name: name, Text: text, RTT: rtt,
		Run: func(ctx context.Context, s scenario.Setup) (scenario.Result, error) { return Measure(ctx, s, l) }}
}
