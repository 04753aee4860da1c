package asynqlock_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	asynqlock "github.com/lockkeeper/lockkeeper/adapters/asynq"
	"github.com/lockkeeper/lockkeeper/internal/adaptertest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestMain(m *testing.M) { adaptertest.Main(m) }

const key = "scheduler"

// counted is a scheduler that counts those that run.
type counted struct {
	asynqlock.Scheduler
	t       *testing.T
	running *atomic.Int32
}

func (c counted) Start() error {
	if c.running.Add(1) != 1 {
		c.t.Error("two schedulers run")
	}
	return c.Scheduler.Start()
}

func (c counted) Shutdown() {
	c.Scheduler.Shutdown()
	c.running.Add(-1)
}

// provider has one task, with the name of a replica, every second.
type provider string

func (p provider) GetConfigs() ([]*asynq.PeriodicTaskConfig, error) {
	return []*asynq.PeriodicTaskConfig{{Cronspec: "@every 1s", Task: asynq.NewTask(string(p), nil)}}, nil
}

// The two kinds of schedulers.
var kinds = map[string]func(asynq.RedisClientOpt, string) (asynqlock.Scheduler, error){
	"Scheduler": func(redis asynq.RedisClientOpt, replica string) (asynqlock.Scheduler, error) {
		s := asynq.NewScheduler(redis, &asynq.SchedulerOpts{LogLevel: asynq.FatalLevel})
		_, err := s.Register("@every 1s", asynq.NewTask(replica, nil))
		return s, err
	},
	"PeriodicTaskManager": func(redis asynq.RedisClientOpt, replica string) (asynqlock.Scheduler, error) {
		return asynq.NewPeriodicTaskManager(asynq.PeriodicTaskManagerOpts{PeriodicTaskConfigProvider: provider(replica),
			RedisConnOpt: redis, SchedulerOpts: &asynq.SchedulerOpts{LogLevel: asynq.FatalLevel}})
	},
}

// waitFor waits until a replica has enqueued a task. All that time others do not lead for long: they resign. Who resigns campaigns again, and
// may win against one that has not begun to wait.
func waitFor(t *testing.T, redis asynq.RedisClientOpt, replica string, others ...*manager.Manager) {
	t.Helper()
	inspector := asynq.NewInspector(redis)
	defer inspector.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		tasks, err := inspector.ListPendingTasks("default")
		if err != nil && !errors.Is(err, asynq.ErrQueueNotFound) {
			t.Fatal(err)
		}
		for _, task := range tasks {
			if task.Type == replica {
				return
			}
		}
		for _, m := range others {
			if l := m.Leader(key); l.IsLeader(ctx) == nil {
				if err := l.Resign(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			t.Fatalf("%s enqueues nothing", replica)
		}
	}
}

func TestTheLeaderAloneSchedules(t *testing.T) {
	for kind, create := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
				t.Parallel()
				redis := asynq.RedisClientOpt{Addr: adaptertest.Redis(t)}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var running atomic.Int32
				ended := make(chan error, 2)
				campaign := func(m *manager.Manager, replica string) {
					go func() { // Joined by ended.
						ended <- asynqlock.Elect(ctx, m, key, func() (counted, error) {
							s, err := create(redis, replica)
							return counted{s, t, &running}, err
						})
					}()
				}
				here, there := open(), open()
				campaign(here, "here")
				waitFor(t, redis, "here")
				campaign(there, "there")
				waitFor(t, redis, "there", here)
				if err := there.Leader(key).Resign(ctx); err != nil { // and back: a scheduler is made for each term
					t.Fatal(err)
				}
				cancel()
				for range 2 {
					if err := adaptertest.Receive(t, ended, "Elect"); !errors.Is(err, context.Canceled) {
						t.Errorf("Elect: %v", err)
					}
				}
				if n := running.Load(); n != 0 {
					t.Errorf("%d schedulers run still", n)
				}
			})
		})
	}
}

// failing cannot be started.
type failing struct{ asynqlock.Scheduler }

var errStart = errors.New("no")

func (failing) Start() error { return errStart }

func TestASchedulerThatCannotStartEndsTheCampaign(t *testing.T) {
	m := locktest.Open(t)
	if err := asynqlock.Elect(t.Context(), m, key, func() (failing, error) { return failing{}, nil }); !errors.Is(err, errStart) {
		t.Errorf("Start fails: %v", err)
	}
	if err := asynqlock.Elect(t.Context(), m, key, func() (failing, error) { return failing{}, errStart }); !errors.Is(err, errStart) {
		t.Errorf("create fails: %v", err)
	}
	adaptertest.Free(t, m, key)
}

// termed tells of its start and its end.
type termed struct{ started, stopped chan struct{} }

func (s termed) Start() error { s.started <- struct{}{}; return nil }
func (s termed) Shutdown()    { s.stopped <- struct{}{} }

// A term that ends by a loss ends the scheduler, and the campaign goes on: with another scheduler.
func TestALossEndsTheTermAndNotTheCampaign(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := termed{make(chan struct{}), make(chan struct{})}
	created, ended := atomic.Int32{}, make(chan error, 1)
	go func() { // Joined by ended.
		ended <- asynqlock.Elect(ctx, m, key, func() (termed, error) { created.Add(1); return s, nil })
	}()
	for range 3 {
		adaptertest.Receive(t, s.started, "Start")
		server.Lose()
		adaptertest.Receive(t, s.stopped, "Shutdown")
	}
	adaptertest.Receive(t, s.started, "Start")
	cancel()
	adaptertest.Receive(t, s.stopped, "Shutdown")
	if err := adaptertest.Receive(t, ended, "Elect"); !errors.Is(err, context.Canceled) {
		t.Errorf("Elect: %v", err)
	}
	if n := created.Load(); n != 4 {
		t.Errorf("%d schedulers were made for four terms", n)
	}
}
