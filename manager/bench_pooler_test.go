package manager_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Behind a PgBouncer, in session mode and, with the option for it, in transaction mode.
func BenchmarkBehindAPooler(b *testing.B) {
	for mode, opts := range map[string][]manager.Option{"session": nil, "transaction": {manager.WithTransactionPooler()}} {
		for _, callers := range []int{1, 1000} {
			b.Run(fmt.Sprintf("mode=%s/callers=%d", mode, callers), func(b *testing.B) {
				server, name := pgtest.NewDatabase(b)
				pooler := pgtest.NewBouncer(b, server, name, map[string]string{"pool_mode": mode, "default_pool_size": "30"})
				m, err := manager.Open(b.Context(), pooler.DSN, opts...)
				if err != nil {
					b.Fatal(err)
				}
				benchPairs(b, callers, func(ctx context.Context, i int) (*manager.Lock, error) {
					return m.Acquire(ctx, fmt.Sprintf("orders/%d", i))
				})
				if err := m.Close(context.Background()); err != nil {
					b.Error(err)
				}
			})
		}
	}
}
