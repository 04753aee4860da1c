package gocronlock_test

import (
	"context"
	"log"
	"time"

	"github.com/go-co-op/gocron/v2"

	gocronlock "github.com/lockkeeper/lockkeeper/adapters/gocron"
	"github.com/lockkeeper/lockkeeper/manager"
)

// One of all replicas sends the report at three. The others, whose clocks may be half a minute late, skip it.
func ExampleNewLocker() {
	_ = func(ctx context.Context, m *manager.Manager) error {
		locker := gocronlock.NewLocker(m, 30*time.Second, gocronlock.OnLost(func(job string, err error) {
			log.Printf("job %s goes on without its lock: %v", job, err)
		}))
		s, err := gocron.NewScheduler(gocron.WithDistributedLocker(locker))
		if err != nil {
			return err
		}
		_, err = s.NewJob(gocron.CronJob("0 3 * * *", false), gocron.NewTask(func() { log.Print("send the report") }),
			gocron.WithName("report"))
		if err != nil {
			return err
		}
		s.Start()
		<-ctx.Done()
		return s.Shutdown() // before m.Close
	}
}

// One of all replicas runs every job of the scheduler: the leader.
func ExampleNewLocker_elector() {
	_ = func(ctx context.Context, m *manager.Manager) error {
		s, err := gocron.NewScheduler(gocron.WithDistributedElector(m.Leader("scheduler")))
		if err != nil {
			return err
		}
		s.Start()
		// It returns when ctx has ended.
		err = m.Elect(ctx, "scheduler", func(term context.Context) error {
			<-term.Done()
			return context.Cause(term)
		})
		log.Print(err)
		return s.Shutdown()
	}
}
