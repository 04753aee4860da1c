package locktest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/adaptertest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestMain(m *testing.M) { adaptertest.Main(m) }

func TestTheServerInMemoryConforms(t *testing.T) {
	s := locktest.NewServer()
	t.Cleanup(s.Close)
	locktest.Conform(t, s.Open)
}

func TestTheServerInMemoryConformsWithHints(t *testing.T) {
	s := locktest.NewServer()
	t.Cleanup(s.Close)
	locktest.Conform(t, func(ctx context.Context, opts ...manager.Option) (*manager.Manager, error) {
		return s.Open(ctx, append(opts, manager.WithNotify())...)
	})
}

func TestPostgreSQLConforms(t *testing.T) {
	s := pgtest.Shared(t)
	locktest.Conform(t, func(ctx context.Context, opts ...manager.Option) (*manager.Manager, error) {
		return manager.Open(ctx, s.DSN(), opts...)
	})
}

// brokenVariable is set in a process that runs the suite on servers that do not know of each other.
const brokenVariable = "LOCKKEEPER_TEST_BROKEN"

// Two managers on two servers do not exclude each other. The suite says so of each promise.
func TestServersThatDoNotExcludeDoNotConform(t *testing.T) {
	if os.Getenv(brokenVariable) != "" {
		locktest.Conform(t, func(ctx context.Context, opts ...manager.Option) (*manager.Manager, error) {
			s := locktest.NewServer()
			t.Cleanup(s.Close)
			return s.Open(ctx, opts...)
		})
		return
	}
	names := []string{"one_holder", "a_try", "Do_releases", "a_holder_is_told", "shared_locks", "a_set", "slots", "a_period", "a_minimum"}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$/^("+strings.Join(names, "|")+")")
	cmd.Env = append(os.Environ(), brokenVariable+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("the suite finds nothing wrong")
	}
	for _, name := range names {
		if !strings.Contains(string(out), "--- FAIL: "+t.Name()+"/"+name) {
			t.Errorf("%q does not fail:\n%s", name, out)
		}
	}
}
