package lockprom_test

import (
	"context"
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lockkeeper/lockkeeper/locktest"
	lockprom "github.com/lockkeeper/lockkeeper/prom"
)

// One collector for each manager: here on a server in memory, in a program by manager.Open.
func ExampleNewCollector() {
	ctx := context.Background()
	server := locktest.NewServer()
	defer server.Close()
	m, err := server.Open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)

	registry := prometheus.NewRegistry()
	registry.MustRegister(lockprom.NewCollector(m, prometheus.Labels{"db": "eu"}))
	// http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	if _, err := m.Acquire(ctx, "orders/42"); err != nil {
		log.Fatal(err)
	}
	held, err := testutil.GatherAndCount(registry, "lockkeeper_held")
	fmt.Println(held, err)
	// Output:
	// 1 <nil>
}
