package cronlock_test

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/robfig/cron/v3"

	cronlock "github.com/lockkeeper/lockkeeper/adapters/cron"
	"github.com/lockkeeper/lockkeeper/manager"
)

// One of all replicas sends the report of each hour.
func ExampleOnce() {
	_ = func(ctx context.Context, m *manager.Manager) error {
		logger := cron.VerbosePrintfLogger(log.New(os.Stderr, "cron: ", log.LstdFlags))
		once := cron.NewChain(cron.Recover(logger), cronlock.Once(ctx, m, "report", time.Hour, logger))
		c := cron.New(cron.WithLogger(logger), cron.WithLocation(time.UTC))
		_, err := c.AddJob("@hourly", once.Then(cronlock.Func(func(ctx context.Context) {
			period, _ := manager.PeriodOf(ctx)
			log.Print("send the report of ", period)
		})))
		if err != nil {
			return err
		}
		c.Start()
		<-ctx.Done()
		<-c.Stop().Done() // before m.Close
		return nil
	}
}
