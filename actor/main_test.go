package actor

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The histories of one key are short and cheap to run, so there can be more of them than rapid makes by itself.
func TestMain(m *testing.M) {
	for name, value := range map[string][2]string{
		"rapid.checks":     {"100", "1500"},
		"rapid.steps":      {"30", "60"},
		"rapid.nofailfile": {"false", "true"}, // the seed that is printed does as well, and leaves no files about
	} {
		if f := flag.Lookup(name); f.DefValue == value[0] {
			if err := f.Value.Set(value[1]); err != nil {
				panic(err)
			}
		}
	}
	goleak.VerifyTestMain(m)
}

// stressed says that the long versions of the tests are wanted.
func stressed() bool { return os.Getenv("LOCKKEEPER_STRESS") != "" }
