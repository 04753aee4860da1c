package main

import (
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/golist"
)

// Each of these changes breaks one rule in the clean package: the rule is found broken on the changed line, and nothing
// else is found.
var broken = []struct {
	name     string
	rule     rule
	old, new string
	at       string // the finding is on the first line that begins with this; on the changed line if empty
}{
	{"a mutex", ruleLock, "	waiting []request\n", "	more sync.Mutex\n	waiting []request\n", ""},
	{"an embedded mutex", ruleLock, "	waiting []request\n", "	sync.RWMutex\n	waiting []request\n", ""},
	{"a mutex by another name", ruleLock, "	waiting []request\n", "	more struct{ m other.Mutex }\n	waiting []request\n", ""},
	{"a condition", ruleLock, "	waiting []request\n", "	more *sync.Cond\n	waiting []request\n", ""},
	{"once", ruleLock, "	waiting []request\n", "	more sync.Once\n	waiting []request\n", ""},
	{"a locker", ruleLock, "	waiting []request\n", "	more sync.Locker\n	waiting []request\n", ""},
	{"a try lock", ruleLock, "	g.keepers.Wait()\n", "	_ = interface{ TryLock() bool }.TryLock(nil)\n", ""},
	{"a compare-and-swap", ruleAtomic, "	g.keepers.Wait()\n", "	g.peak.CompareAndSwap(1, 2)\n", ""},
	{"a swap", ruleAtomic, "		k.granted.Add(1)\n", "		k.granted.Swap(1)\n", ""},
	{"who adds first", ruleAtomic, "	g.keepers.Wait()\n", "	_ = g.peak.Add(1) == 1\n", ""},
	{"an atomic function", ruleAtomic, "	g.keepers.Wait()\n", "	atomic.AddInt64(new(int64), 1)\n", ""},
	{"a yield without a reason", ruleYield, " //arch:yield those who were just answered ask again before the statement goes", "", ""},
	{"a spin by a condition", ruleSpin, "	g.keepers.Wait()\n", "	for g.peak.Load() > 0 {\n	}\n", ""},
	{"a spin that yields", ruleSpin, "	g.keepers.Wait()\n", "	for g.peak.Load() > 0 {\n		runtime.Gosched() //arch:yield x\n	}\n", ""},
	{"a spin by a break", ruleSpin, "	g.keepers.Wait()\n", "	for {\n		if g.peak.Load() > 0 {\n			break\n		}\n	}\n", ""},
	{"a list of atomic pointers", ruleQueue, "type snapshot struct{ waiting int }\n",
		"type snapshot struct {\n	next atomic.Pointer[snapshot] // written by senders\n}\n", "	next"},
	{"an atomic pointer to a list", ruleQueue, "type snapshot struct{ waiting int }\n", "type snapshot struct{ next *snapshot }\n",
		"	state atomic.Pointer"},
	{"a table of atomic pointers", ruleQueue, "	waiting []request\n", "	table []atomic.Pointer[group] // written by senders\n	waiting []request\n", ""},
	{"the mailbox", ruleQueue, "	\"sync/atomic\"\n",
		"	\"sync/atomic\"\n	_ \"github.com/lockkeeper/lockkeeper/internal/archlint/testdata/queues/internal/mailbox\"\n", "	_ "},
	{"a list as a mailbox", ruleQueue, "	\"sync/atomic\"\n", "	\"sync/atomic\"\n	_ \"container/list\"\n", "	_ "},
	{"a goroutine that nothing joins", ruleGo, " Joined by stop.", "", "	go func"},
	{"a start whose comment is gone", ruleGo, "	// Joined by the function that watch returns.\n", "", ""},
	{"a group that nothing waits for", ruleGo, "	g.readers.Wait()\n",
		"	_ = func(k *keeper) {\n		g.keepers.Go(k.collect)\n		var lost sync.WaitGroup\n		lost.Go(k.collect)\n	}\n", "		lost.Go"},
	{"a channel without its sender", ruleChannel, "sent by the keeper, once; ", "", "	reply chan"},
	{"a channel without its receiver", ruleChannel, "received by run; ", "", ""},
	{"a channel without its closer", ruleChannel, "Closed by run at its end; ", "", ""},
	{"a channel without its capacity", ruleChannel, "; unbuffered: a sender also selects on done", "", ""},
	{"a signal that may be sent", ruleChannel, "; nothing is sent", "", ""},
	{"a pool without its measurement", ruleMeasured, "a profile of BenchmarkAcquire", "BenchmarkAcquire", "var requests"},
	{"a map without its measurement", ruleMeasured, "	waiting []request\n", "	more sync.Map\n	waiting []request\n", ""},
	{"an atomic value without its writer", ruleWriter, "written by every keeper as it starts", "its peak", ""},
	{"a group of atomic values apart from its comment", ruleWriter, "	longest          atomic.Int64\n", "\n	longest atomic.Int64\n",
		"	longest"},
	{"a field's name", ruleWord, "	waiting []request\n", "	heir []request\n	waiting []request\n", ""},
	{"a local name", ruleWord, "	g.keepers.Wait()\n", "	doorOpen := 1\n	_ = doorOpen\n", ""},
	{"a method's name", ruleWord, "// total adds", "func (k *keeper) letGo() {}\n\n// total adds", ""},
	{"a directive that is not needed", ruleDirective, "	g.keepers.Wait()\n", "	//arch:publishes nothing\n", ""},
	{"a directive without a reason", ruleDirective, "	g.keepers.Wait()\n", "	//arch:yield\n", ""},
	{"a directive with a typing error", ruleDirective, "	g.keepers.Wait()\n", "	//arch:yields now\n", ""},
}

func TestEachRuleIsBrokenOnPurpose(t *testing.T) {
	raw, err := os.ReadFile("testdata/clean/clean.go")
	if err != nil {
		t.Fatal(err)
	}
	clean := string(raw)
	all, err := golist.List(".", "context", "runtime", "sync", "sync/atomic", "container/list", "./testdata/queues/internal/mailbox")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	imports := golist.Importer(fset, all)
	tested := map[rule]bool{}
	for _, b := range broken {
		t.Run(b.name, func(t *testing.T) {
			at := strings.Index(clean, b.old)
			if at < 0 || strings.Count(clean, b.old) > 1 {
				t.Fatalf("%q is in the clean package %d times", b.old, strings.Count(clean, b.old))
			}
			text := clean[:at] + b.new + clean[at+len(b.old):]
			want := 1 + strings.Count(clean[:at], "\n")
			if b.at != "" {
				before, _, ok := strings.Cut(text, "\n"+b.at)
				if !ok {
					t.Fatalf("no line begins with %q", b.at)
				}
				want = 2 + strings.Count(before, "\n")
			}
			// Imports that only some of the changes need.
			text = strings.Replace(text, "	\"sync\"\n", "	\"sync\"; other \"sync\"\n", 1) + "\nvar _ other.WaitGroup\nvar _ = runtime.Gosched //arch:yield not called\n"
			p, err := typecheck(fset, imports, "clean", map[string][]byte{"clean.go": []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			found := check(p)
			other := func(f finding) bool { return f.rule != b.rule || f.pos.Line != want }
			if len(found) == 0 || slices.ContainsFunc(found, other) {
				t.Errorf("should find %q on line %d alone, finds %v", b.rule, want, found)
			}
		})
		tested[b.rule] = true
	}
	for _, r := range []rule{ruleLock, ruleAtomic, ruleYield, ruleSpin, ruleQueue, ruleGo, ruleChannel, ruleMeasured, ruleWriter, ruleWord, ruleDirective} {
		if !tested[r] {
			t.Errorf("nothing breaks the rule %q", r)
		}
	}
}
