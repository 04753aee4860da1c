package manager_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	childtest.Play(parts)
	flag.Parse()
	offerDatabase()
	code := pgtest.Run(m)
	if err := closeBreakable(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the breakable server:", err)
		code = max(code, 1)
	}
	var left error
	if code == 0 && !poll(func() bool { left = goleak.Find(); return left == nil }) {
		fmt.Fprintln(os.Stderr, "goroutines are left after all tests:", left)
		code = 1
	}
	os.Exit(code)
}

// offerDatabase gives the examples a server, by the variable that a program of theirs would use. Without one they are
// left out, since an example cannot skip itself; with CI=true they stay in and fail, as the tests do.
func offerDatabase() {
	if _, err := pgserver.FindBinaries(); err != nil && os.Getenv("CI") != "true" {
		skip := flag.Lookup("test.skip")
		pattern := "^Example"
		if given := skip.Value.String(); given != "" {
			pattern = given + "|" + pattern
		}
		if err := skip.Value.Set(pattern); err != nil {
			panic(err)
		}
		return
	}
	if err := os.Setenv("DATABASE_URL", dsn(pgtest.Shared(beforeTests{}))); err != nil {
		panic(err)
	}
}

// beforeTests stands in for a test while there is none yet: what would fail the test ends the run.
type beforeTests struct{ testing.TB }

func (beforeTests) Helper() {}

func (beforeTests) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

func (b beforeTests) Skip(args ...any) { b.Fatal(args...) }
