package cronlock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	cronlock "github.com/lockkeeper/lockkeeper/adapters/cron"
	"github.com/lockkeeper/lockkeeper/internal/adaptertest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestMain(m *testing.M) { adaptertest.Main(m) }

// lines is a logger for a test to read.
type lines chan string

func (l lines) Info(msg string, kv ...any) { l <- "info: " + fmt.Sprint(append([]any{msg}, kv...)...) }

func (l lines) Error(err error, msg string, kv ...any) {
	l <- "error: " + fmt.Sprint(append([]any{msg, err}, kv...)...)
}

// start runs a cron that begins the job every second, until the test ends. That is the least that cron can do.
func start(t *testing.T, w cron.JobWrapper, job cron.Job) {
	t.Helper()
	c := cron.New(cron.WithLogger(cron.DiscardLogger), cron.WithChain(w))
	if _, err := c.AddJob("@every 1s", job); err != nil {
		t.Fatal(err)
	}
	c.Start()
	t.Cleanup(func() { <-c.Stop().Done() })
}

// Each wrapper runs a job in the first replica only, also when the job has returned before the second one's begins.
func TestOneOfTwoReplicasRunsTheJob(t *testing.T) {
	wrappers := map[string]func(*testing.T, *manager.Manager, cron.Logger) cron.JobWrapper{
		"Once": func(t *testing.T, m *manager.Manager, log cron.Logger) cron.JobWrapper {
			t.Helper()
			return cronlock.Once(t.Context(), m, "report", 1000*time.Hour, log)
		},
		"Skip": func(t *testing.T, m *manager.Manager, log cron.Logger) cron.JobWrapper {
			t.Helper()
			return cronlock.Skip(t.Context(), m, "report", time.Hour, log)
		},
	}
	for name, wrapper := range wrappers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			adaptertest.Each(t, func(t *testing.T, open adaptertest.Opener) {
				t.Parallel()
				ran, skipped := make(chan struct{}, 10), make(lines, 100)
				here := wrapper(t, open(), make(lines, 100))
				start(t, here, cron.FuncJob(func() { ran <- struct{}{} }))
				adaptertest.Receive(t, ran, "the job")
				start(t, wrapper(t, open(), skipped), cron.FuncJob(func() { t.Error("the job runs twice") }))
				if line := adaptertest.Receive(t, skipped, "the log"); !strings.HasPrefix(line, "info: skip") {
					t.Errorf("the second replica logs %q", line)
				}
			})
		})
	}
}

// run runs a wrapped job once.
func run(w cron.JobWrapper, job cron.Job) { cron.NewChain(w).Then(job).Run() }

func TestALossEndsTheContextOfAFuncAndIsLogged(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	for name, w := range map[string]func(cron.Logger) cron.JobWrapper{
		"Once": func(log cron.Logger) cron.JobWrapper { return cronlock.Once(t.Context(), m, "a", time.Hour, log) },
		"Skip": func(log cron.Logger) cron.JobWrapper { return cronlock.Skip(t.Context(), m, "b", 0, log) },
	} {
		log := make(lines, 1)
		run(w(log), cronlock.Func(func(ctx context.Context) {
			server.Lose()
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), manager.ErrLost) {
				t.Errorf("%s: the cause is %v", name, context.Cause(ctx))
			}
		}))
		if line := adaptertest.Receive(t, log, "the log"); !strings.HasPrefix(line, "error: the lock was lost") {
			t.Errorf("%s logs %q", name, line)
		}
	}
}

func TestAJobIsNotRunWithoutItsLock(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log := make(lines, 1)
	run(cronlock.Skip(ctx, m, "a", 0, log), cron.FuncJob(func() { t.Error("the job runs") }))
	if line := adaptertest.Receive(t, log, "the log"); !strings.HasPrefix(line, "error: the job was not run") {
		t.Errorf("logged: %q", line)
	}
}

// unreleased is a locker whose server does not confirm a release.
type unreleased struct{ manager.Locker }

func (unreleased) Do(ctx context.Context, _ string, f func(context.Context) error, _ ...manager.AcquireOption) error {
	return errors.Join(f(ctx), manager.ErrReleaseUnknown)
}

func TestAJobThatHasRunIsNotSaidNotToHave(t *testing.T) {
	log, ran := make(lines, 1), false
	run(cronlock.Skip(t.Context(), unreleased{}, "a", 0, log), cron.FuncJob(func() { ran = true }))
	if line := adaptertest.Receive(t, log, "the log"); !ran || !strings.HasPrefix(line, "error: the job was run, but the release of its lock failed") {
		t.Errorf("logged: %q", line)
	}
}

func TestAPanicReachesRecoverAndLeavesTheLockFree(t *testing.T) {
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	m := adaptertest.OpenerOf(t, server.Open)()
	log := make(lines, 1)
	cron.NewChain(cron.Recover(log), cronlock.Skip(t.Context(), m, "a", 0, make(lines, 1))).
		Then(cron.FuncJob(func() { panic("oh") })).Run()
	if line := adaptertest.Receive(t, log, "the log"); !strings.Contains(line, "oh") {
		t.Errorf("logged: %q", line)
	}
	adaptertest.Free(t, m, "a")
}

func TestAFuncIsAJobWithoutAWrapper(t *testing.T) {
	ran := false
	cronlock.Func(func(ctx context.Context) { ran = ctx.Err() == nil }).Run()
	if !ran {
		t.Error("it does not run")
	}
}
