package gocronlock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-co-op/gocron/v2"

	gocronlock "github.com/lockkeeper/lockkeeper/adapters/gocron"
	"github.com/lockkeeper/lockkeeper/internal/adaptertest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestMain(m *testing.M) { adaptertest.Main(m) }

// watched tells how each call of a Locker went.
type watched struct {
	gocron.Locker
	locked, unlocked chan error // sent by a scheduler, received by the test; never closed; as many as a test's calls
}

func watch(l gocron.Locker) watched {
	return watched{l, make(chan error, 10), make(chan error, 10)}
}

func (w watched) Lock(ctx context.Context, key string) (gocron.Lock, error) {
	l, err := w.Locker.Lock(ctx, key)
	w.locked <- err
	return watchedLock{l, w.unlocked}, err
}

type watchedLock struct {
	gocron.Lock
	unlocked chan error
}

func (w watchedLock) Unlock(ctx context.Context) error {
	err := w.Lock.Unlock(ctx)
	w.unlocked <- err
	return err
}

// runs starts a scheduler that runs f once, now, as the job "report".
func runs(t *testing.T, f func(), o gocron.SchedulerOption) (s gocron.Scheduler, job gocron.Job) {
	t.Helper()
	s, err := gocron.NewScheduler(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	job, err = s.NewJob(gocron.DurationJob(time.Hour), gocron.NewTask(f), gocron.WithName("report"),
		gocron.WithStartAt(gocron.WithStartImmediately()))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	return s, job
}

func TestAReplicaSkipsTheJobThatAnotherRuns(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		here, there := watch(gocronlock.NewLocker(open(), 0)), watch(gocronlock.NewLocker(open(), 0))
		began, finish := make(chan struct{}), make(chan struct{})
		runs(t, func() { close(began); <-finish }, gocron.WithDistributedLocker(here))
		adaptertest.Receive(t, began, "the first replica's job")
		runs(t, func() { t.Error("the job runs twice") }, gocron.WithDistributedLocker(there))
		if err := adaptertest.Receive(t, there.locked, "the second replica's Lock"); !errors.Is(err, manager.ErrNotAcquired) {
			t.Errorf("Lock: %v, should be ErrNotAcquired", err)
		}
		close(finish)
		if err := adaptertest.Receive(t, here.unlocked, "the first replica's Unlock"); err != nil {
			t.Error(err)
		}
	})
}

func TestAReplicaThatIsLateSkipsAJobThatWasShort(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		here, there := watch(gocronlock.NewLocker(open(), time.Minute)), watch(gocronlock.NewLocker(open(), time.Minute))
		runs(t, func() {}, gocron.WithDistributedLocker(here))
		if err := adaptertest.Receive(t, here.unlocked, "the first replica's Unlock"); err != nil {
			t.Fatal(err)
		}
		runs(t, func() { t.Error("the job runs twice") }, gocron.WithDistributedLocker(there))
		if err := adaptertest.Receive(t, there.locked, "the second replica's Lock"); !errors.Is(err, manager.ErrNotAcquired) {
			t.Errorf("Lock: %v, should be ErrNotAcquired", err)
		}
	})
}

func TestTheLockIsHeldWhileTheJobRunsAlthoughItsContextEnded(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		other, locker := open(), watch(gocronlock.NewLocker(open(), 0))
		began, finish := make(chan struct{}), make(chan struct{})
		s, job := runs(t, func() { close(began); <-finish }, gocron.WithDistributedLocker(locker))
		adaptertest.Receive(t, began, "the job")
		if err := s.RemoveJob(job.ID()); err != nil { // which ends the context of the job
			t.Fatal(err)
		}
		if _, err := other.TryAcquire(t.Context(), "report"); !errors.Is(err, manager.ErrNotAcquired) {
			t.Errorf("the job runs, and another process gets: %v", err)
		}
		close(finish)
		if err := adaptertest.Receive(t, locker.unlocked, "Unlock"); err != nil {
			t.Errorf("Unlock: %v", err)
		}
		adaptertest.Free(t, other, "report")
	})
}

func TestUnlockReleasesWithAContextThatEnded(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		ctx, cancel := context.WithCancel(t.Context())
		lock, err := gocronlock.NewLocker(open(), 0).Lock(ctx, "report")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := lock.Unlock(ctx); err != nil {
			t.Errorf("Unlock: %v", err)
		}
		adaptertest.Free(t, open(), "report")
	})
}

func TestALossIsToldWhileTheJobRuns(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	lost := make(chan error, 1)
	locker := watch(gocronlock.NewLocker(m, 0, gocronlock.OnLost(func(job string, err error) {
		if job != "report" {
			t.Errorf("the job is %q", job)
		}
		lost <- err
	})))
	began, finish := make(chan struct{}), make(chan struct{})
	runs(t, func() { close(began); <-finish }, gocron.WithDistributedLocker(locker))
	adaptertest.Receive(t, began, "the job")
	server.Lose(m.Key("report"))
	if err := adaptertest.Receive(t, lost, "OnLost"); !errors.Is(err, manager.ErrLost) {
		t.Errorf("OnLost: %v", err)
	}
	close(finish)
	if err := adaptertest.Receive(t, locker.unlocked, "Unlock"); !errors.Is(err, manager.ErrLost) {
		t.Errorf("Unlock: %v, should be ErrLost", err)
	}
}

// A leader is an Elector as it is.
func TestTheLeaderAloneRunsJobs(t *testing.T) {
	adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
		here, there := open(), open()
		ctx, cancel := context.WithCancel(t.Context())
		leads, ended := make(chan struct{}), make(chan error, 1)
		go func() { // Joined by ended.
			ended <- here.Elect(ctx, "scheduler", func(ctx context.Context) error {
				close(leads)
				<-ctx.Done()
				return context.Cause(ctx)
			})
		}()
		adaptertest.Receive(t, leads, "the leader")
		follower := asked{there.Leader("scheduler"), make(chan error, 10)}
		ran := make(chan struct{})
		runs(t, func() { t.Error("a follower runs the job") }, gocron.WithDistributedElector(follower))
		if err := adaptertest.Receive(t, follower.answers, "IsLeader"); !errors.Is(err, manager.ErrNotLeader) {
			t.Errorf("IsLeader: %v, should be ErrNotLeader", err)
		}
		runs(t, func() { close(ran) }, gocron.WithDistributedElector(here.Leader("scheduler")))
		adaptertest.Receive(t, ran, "the leader's job")
		cancel()
		if err := adaptertest.Receive(t, ended, "Elect"); !errors.Is(err, context.Canceled) {
			t.Errorf("Elect: %v", err)
		}
	})
}

// asked tells what an Elector answers.
type asked struct {
	gocron.Elector
	answers chan error // sent by the scheduler, received by the test; never closed; as many as a test's questions
}

func (a asked) IsLeader(ctx context.Context) error {
	err := a.Elector.IsLeader(ctx)
	a.answers <- err
	return err
}
