package baseline

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testProgram is a main package that is quickly built: of the library it has hashing alone. The harness itself is built by a
// test of package cli.
const testProgram = module + "/bench/internal/baseline/testdata/program"

// repository is a git repository of a test's own.
type repository struct {
	t      *testing.T
	folder string
}

func newRepository(t *testing.T) repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("this test makes a repository, and there is no git: ", err)
	}
	r := repository{t, t.TempDir()}
	r.git("init", "--quiet")
	return r
}

func (r repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", append([]string{"-c", "user.name=Test", "-c", "user.email=test@example.com",
		"-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = r.folder
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repository) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.folder, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// commit returns the hash of a commit of all files.
func (r repository) commit(subject string) string {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message", subject)
	return r.git("rev-parse", "HEAD")
}

// addLibrary copies what the program has of this checkout's library, as its files are now.
func (r repository) addLibrary(source string) {
	r.t.Helper()
	if err := os.CopyFS(filepath.Join(r.folder, "hashing"), os.DirFS(filepath.Join(source, "hashing"))); err != nil {
		r.t.Fatal(err)
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			r.t.Fatal(err)
		}
		r.write(file, string(text))
	}
}

func source(t *testing.T) string {
	t.Helper()
	folder, err := FindSource()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func (r repository) builder() (b Builder, said *[]string) {
	said = new([]string)
	r.t.Setenv("TMPDIR", r.t.TempDir())
	return Builder{Source: source(r.t), Repository: r.folder, Package: testProgram, Cache: r.t.TempDir(),
		Say: func(text string) { *said = append(*said, text) }}, said
}

func mustBeEmpty(t *testing.T, folder string) {
	t.Helper()
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("%s: %v is left, %v", folder, entries, err)
	}
}

// The program has the library of the commit, whatever the files of the checkout are; helpers that the harness measures with
// are today's.
func TestBuild(t *testing.T) {
	r := newRepository(t)
	b, said := r.builder()
	r.addLibrary(b.Source)
	first := r.commit("first")
	r.write("hashing/other.go", "package hashing\n\nfunc init() { panic(\"the library of the second commit\") }\n")
	r.write("internal/interrupt/interrupt.go", "this is no Go, and nobody imports it")
	r.commit("second")
	r.write("hashing/dirty.go", "this is no Go, and in no commit")
	for revision, want := range map[string]string{first: "an id is ", "HEAD": "the library of the second commit"} {
		p, err := b.Build(t.Context(), revision)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(p.Own); err != nil {
			t.Error(err)
		}
		out, err := exec.CommandContext(t.Context(), p.Path).CombinedOutput()
		if (err == nil) != (revision == first) || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s: %v, no %q in\n%s", revision, err, want, out)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	mustBeEmpty(t, os.Getenv("TMPDIR"))
	if text := strings.Join(*said, "\n"); !strings.Contains(text, "first: extracting") || !strings.Contains(text, "built within") {
		t.Errorf("progress was\n%s", text)
	}
	if entries, err := os.ReadDir(b.Cache); err != nil || len(entries) != 2 || len(entries[0].Name()) != len(first) {
		t.Errorf("the cache has %v, %v; want a folder for each commit's full hash", entries, err)
	}
}

func TestACommitThatDoesNotBuildIsSaidWithTheCompilersReason(t *testing.T) {
	r := newRepository(t)
	b, _ := r.builder()
	r.addLibrary(b.Source)
	r.write("hashing/other.go", "package hashing\n\nvar x = thereIsNoSuchThing\n")
	hash := r.commit("broken")
	_, err := b.Build(t.Context(), "HEAD")
	if err == nil {
		t.Fatal("it was built")
	}
	for _, want := range []string{hash[:12] + " broken does not build", "undefined: thereIsNoSuchThing", "other.go:3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	mustBeEmpty(t, os.Getenv("TMPDIR"))
}

func TestWhatIsNoCommitOfTheLibrary(t *testing.T) {
	r := newRepository(t)
	b, _ := r.builder()
	r.write("README", "of something else")
	r.commit("elsewhere")
	if _, err := b.Build(t.Context(), "HEAD"); err == nil || !strings.Contains(err.Error(), "it is no commit of the library") {
		t.Errorf("got %v", err)
	}
	mustBeEmpty(t, b.Cache)
	for _, revision := range []string{"", "-x", "there-is-none", "HEAD:README"} {
		if _, err := b.Build(t.Context(), revision); !errors.Is(err, ErrUnknownRevision) {
			t.Errorf("%q: got %v", revision, err)
		}
	}
	b.Repository = t.TempDir()
	if _, err := b.Build(t.Context(), "HEAD"); err == nil || !strings.Contains(err.Error(), "the git repository of this source") {
		t.Errorf("without a repository: %v", err)
	}
}

func TestAShallowCheckout(t *testing.T) {
	r := newRepository(t)
	r.write("README", "one")
	old := r.commit("one")
	r.write("README", "two")
	r.commit("two")
	shallow := repository{t, t.TempDir()}
	shallow.git("clone", "--quiet", "--depth", "1", "file://"+r.folder, ".")
	if c, err := Resolve(t.Context(), shallow.folder, "HEAD"); err != nil || c.Subject != "two" {
		t.Errorf("got %v, %v", c, err)
	}
	if _, err := Resolve(t.Context(), shallow.folder, old); !errors.Is(err, ErrUnknownRevision) || !strings.Contains(err.Error(), "--unshallow") {
		t.Errorf("got %v", err)
	}
}

func TestABuildThatIsInterruptedLeavesNothing(t *testing.T) {
	r := newRepository(t)
	b, _ := r.builder()
	r.addLibrary(b.Source)
	r.commit("first")
	enough := errors.New("enough")
	for _, at := range []string{"extracting", "building"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		b.Say = func(text string) {
			if strings.Contains(text, at) {
				cancel(enough)
			}
		}
		if _, err := b.Build(ctx, "HEAD"); !errors.Is(err, enough) {
			t.Errorf("%s: got %v", at, err)
		}
		mustBeEmpty(t, os.Getenv("TMPDIR"))
	}
}

func TestDescribe(t *testing.T) {
	r := newRepository(t)
	r.write("README", "one")
	hash := r.commit("one")
	if got := Describe(t.Context(), r.folder); got != hash[:12] {
		t.Errorf("got %q, want %q", got, hash[:12])
	}
	r.write("README", "two")
	if got, want := Describe(t.Context(), r.folder), hash[:12]+"-dirty"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Describe(t.Context(), t.TempDir()); got != "" {
		t.Errorf("without a repository: %q", got)
	}
}

func TestCommitsForPeople(t *testing.T) {
	hash := strings.Repeat("0123456789", 4)
	c := Commit{Revision: "HEAD~1", Hash: hash, Subject: strings.Repeat("x", 100)}
	if c.Label() != "HEAD~1" || c.String() != "012345678901 "+strings.Repeat("x", 72)+"..." {
		t.Errorf("got %q, %q", c.Label(), c)
	}
	c.Revision = hash
	if c.Label() != "012345678901" {
		t.Errorf("got %q", c.Label())
	}
}

func TestRenameImports(t *testing.T) {
	all := func(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }
	in := "package a\n\nimport (\n\t\"fmt\"\n\n\tx \"" + module + "/manager\"\n\t\"" + module + "keeper/other\"\n)\n\n" +
		"const text = \"" + module + "/manager\"\n"
	want := "package a\n\nimport (\n\t\"fmt\"\n\n\tx \"" + renamed + "/manager\"\n\t\"" + module + "keeper/other\"\n)\n\n" +
		"const text = \"" + module + "/manager\"\n"
	if got := string(renameImports("a.go", []byte(in), all)); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := string(renameImports("a.go", []byte("no Go"), all)); got != "no Go" {
		t.Errorf("got %q", got)
	}
	for path, want := range map[string]bool{module + "/manager": true, module + "/hashing": true, module + "/internal/latency": false,
		module + "/bench/internal/harness": false, "fmt": false} {
		if got := isLibrary(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
