package hashing_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

// Deterministic lock ids: one name has one id in every goroutine, process and
// release. Two processes that disagree would both hold "the" lock.

// printIDsVariable makes the test binary print its ids and exit, so that a test
// can ask another process for them.
const printIDsVariable = "LOCKKEEPER_TEST_PRINT_IDS"

func TestMain(m *testing.M) {
	if os.Getenv(printIDsVariable) != "" {
		if err := printIDs(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var deterministicNames = append([]string{"orders/42", "user:6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "заказ/42"}, anyBytes...)

// allFuncs has one of each kind of function that the package offers. It does not
// take a testing.T because a child process calls it without one.
func allFuncs() (map[string]hashing.Func, error) {
	keyed, err := hashing.Keyed([]byte("0123456789abcdef"))
	return map[string]hashing.Func{
		"FNV1a":               hashing.FNV1a,
		"Keyed":               keyed,
		"Postgres":            hashing.Postgres,
		"PostgresSeed":        hashing.PostgresSeed(42),
		"NamespacedFNV1a":     hashing.NamespacedFNV1a("tenant-7"),
		"Namespaced FNV1a":    hashing.Namespaced("tenant-7", hashing.FNV1a),
		"Namespaced Keyed":    hashing.Namespaced("tenant-7", keyed),
		"Namespaced Postgres": hashing.Namespaced("tenant-7", hashing.Postgres),
	}, err
}

func printIDs(w io.Writer) error {
	funcs, err := allFuncs()
	if err != nil {
		return err
	}
	var lines []string
	for label, f := range funcs {
		for i, name := range deterministicNames {
			lines = append(lines, fmt.Sprintf("%s %d %d\n", label, i, f(name)))
		}
	}
	slices.Sort(lines) // The map above has no order.
	_, err = io.WriteString(w, strings.Join(lines, ""))
	return err
}

func TestDeterministicLockIDsAcrossProcesses(t *testing.T) {
	var want strings.Builder
	if err := printIDs(&want); err != nil {
		t.Fatal(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// What a process may differ in without meaning to: its threads, its locale,
	// its time zone, its working directory.
	for _, env := range [][]string{
		nil,
		{"GOMAXPROCS=1", "LANG=C", "LC_ALL=C", "TZ=UTC"},
		{"GOMAXPROCS=4", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "TZ=Asia/Kolkata"},
	} {
		child := exec.CommandContext(t.Context(), binary)
		child.Dir = t.TempDir()
		child.Env = append(append(os.Environ(), env...), printIDsVariable+"=1")
		child.Stderr = os.Stderr
		out, err := child.Output()
		if err != nil {
			t.Fatalf("child with %q: %v", env, err)
		}
		if string(out) != want.String() {
			t.Errorf("a process with %q computes other ids:\n%s\nthis one:\n%s", env, out, want.String())
		}
	}
}

func TestDeterministicLockIDsAcrossGoroutines(t *testing.T) {
	funcs, err := allFuncs()
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for label, f := range funcs {
		want := make([]int64, len(deterministicNames))
		for i, name := range deterministicNames {
			want[i] = f(name)
		}
		for offset := range 8 {
			done.Go(func() {
				for i := range deterministicNames {
					i = (i + offset) % len(deterministicNames)
					if got := f(deterministicNames[i]); got != want[i] {
						t.Errorf("%s(%.40q) = %d in a goroutine, %d before", label, deterministicNames[i], got, want[i])
					}
				}
			})
		}
	}
	done.Wait()
}

// These values are a promise: a release that changes one of them would let a
// process of the old release and one of the new hold the same lock. They were
// computed by other programs: PostgreSQL, and Python's hmac and integers.
func TestDeterministicLockIDsAcrossReleases(t *testing.T) {
	funcs, err := allFuncs()
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string]int64{
		"FNV1a":               -6475162556055330337,
		"Keyed":               8758834544784500059,
		"Postgres":            -5097415481565640018,
		"PostgresSeed":        3616117608358562107,
		"NamespacedFNV1a":     4198208795604474360,
		"Namespaced FNV1a":    4198208795604474360,
		"Namespaced Keyed":    -6328231188623402454,
		"Namespaced Postgres": -6305395856906523310,
	}
	for label, f := range funcs {
		if got := f("orders/42"); got != golden[label] {
			t.Errorf("%s(%q) = %d, released as %d", label, "orders/42", got, golden[label])
		}
	}
}
