package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrUnknownRevision is returned when git finds no commit of that name.
var ErrUnknownRevision = errors.New("unknown revision")

// Commit is the commit that a revision names.
type Commit struct {
	// Revision is what the user wrote; Hash is the full hash; Subject is the first line of the message.
	Revision, Hash, Subject string
}

// String returns the short hash and the beginning of the subject.
func (c Commit) String() string {
	const most = 72
	subject := c.Subject
	if len(subject) > most {
		subject = strings.ToValidUTF8(subject[:most], "") + "..."
	}
	return c.Short() + " " + subject
}

// Short returns the first twelve digits of the hash.
func (c Commit) Short() string {
	const digits = 12
	return c.Hash[:min(digits, len(c.Hash))]
}

// Label returns the revision as reports show it: a full hash is shortened.
func (c Commit) Label() string {
	if c.Revision == c.Hash {
		return c.Short()
	}
	return c.Revision
}

// Resolve returns the commit that the revision names in a repository.
func Resolve(ctx context.Context, repository, revision string) (Commit, error) {
	if revision == "" || strings.HasPrefix(revision, "-") {
		return Commit{}, fmt.Errorf("%w %q", ErrUnknownRevision, revision)
	}
	if _, err := git(ctx, repository, "rev-parse", "--git-dir"); err != nil {
		return Commit{}, fmt.Errorf("the baseline comes from the git repository of this source: %w", err)
	}
	hash, err := git(ctx, repository, "rev-parse", "--verify", "--quiet", revision+"^{commit}")
	if err != nil {
		if ctx.Err() != nil {
			return Commit{}, context.Cause(ctx)
		}
		hint := ""
		if shallow, _ := git(ctx, repository, "rev-parse", "--is-shallow-repository"); shallow == "true" {
			hint = "; this checkout is shallow: 'git fetch --unshallow' gets the commits that it lacks"
		}
		return Commit{}, fmt.Errorf("%w %q: git knows no commit of that name%s", ErrUnknownRevision, revision, hint)
	}
	subject, err := git(ctx, repository, "show", "--no-patch", "--format=%s", hash)
	return Commit{Revision: revision, Hash: hash, Subject: subject}, err
}

// Describe returns the short hash of the checkout's commit, marked where files were changed since. It returns "" where git
// cannot tell.
func Describe(ctx context.Context, repository string) string {
	text, _ := git(ctx, repository, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
	return text
}

// git returns what git prints, without the space around it.
func git(ctx context.Context, repository string, args ...string) (string, error) {
	out, err := gitBytes(ctx, repository, args...)
	return strings.TrimSpace(string(out)), err
}

func gitBytes(ctx context.Context, repository string, args ...string) ([]byte, error) {
	// Git refuses a checkout that belongs to another user unless it is named as safe. The program that asks was built from
	// the same checkout.
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=" + repository, "-C", repository}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	return output(ctx, cmd, "git "+args[0])
}

// output runs a command and returns what it prints. An error has the first lines of what it said.
func output(ctx context.Context, cmd *exec.Cmd, name string) ([]byte, error) {
	const most = 20
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // the go command removes its temporary files then
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d lines more", len(lines)-most))
	}
	return nil, fmt.Errorf("%s: %w:\n%s", name, err, strings.Join(lines, "\n"))
}

// module is the library's module path.
const module = "github.com/lockkeeper/lockkeeper"

// FindSource returns the root of the source that this program belongs to: the first folder with the library's go.mod and
// the harness's above the program's own file, else above the working directory.
func FindSource() (string, error) {
	var starts []string
	if self, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(self))
	}
	if here, err := os.Getwd(); err == nil {
		starts = append(starts, here)
	}
	for _, start := range starts {
		for folder := start; ; folder = filepath.Dir(folder) {
			if isModule(folder, module) && isModule(filepath.Join(folder, "bench"), module+"/bench") {
				return folder, nil
			}
			if folder == filepath.Dir(folder) {
				break
			}
		}
	}
	return "", errors.New("the baseline is built from the source of Lockkeeper, which was found neither above this program nor above " +
		"the working directory: run 'make bench' in a checkout")
}

func isModule(folder, path string) bool {
	text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	return err == nil && slices.Contains(strings.Split(string(text), "\n"), "module "+path)
}
