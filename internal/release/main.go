// Command release tells whether the commit that is checked out can be tagged as a version. It changes nothing.
//
//	go run ./internal/release v0.1.0
//
// It looks at the version, the work tree and the changelog, compares the API with that of the last tag, and does what users do: it makes a
// module proxy of files that has the version, installs the commands from it, and builds a program that imports each module. Licences,
// vulnerabilities and the coverage are checked by "make lint" and "make cover", which "make release-check" runs too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// library is the path of the root module.
const library = "github.com/lockkeeper/lockkeeper"

// apidiff is the program that compares two versions of a package.
const apidiff = "golang.org/x/exp/cmd/apidiff@v0.0.0-20261113113407-e3970619a1a4"

// promised are the packages whose API users compile against. The others say in their doc.go that they promise nothing.
var promised = []string{"hashing", "locktest", "manager"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // the program's
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// check is one question, and its answer: text, which may be a remark, and an error if this is no release.
type check struct {
	name string
	run  func(context.Context) (text string, err error)
}

func run(ctx context.Context, w io.Writer, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("usage: release VERSION")
	}
	root, err := command(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "lockkeeper-release-")
	if err != nil {
		return err
	}
	r := &release{version: args[0], root: strings.TrimSpace(root), temp: temp}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	failed := 0
	for _, c := range []check{
		{"version", r.versionIsFree}, {"work tree", r.committed}, {"changelog", r.changelog}, {"API", r.api}, {"modules", r.proxy},
		{"commands", r.install}, {"import", r.imports},
	} {
		text, err := c.run(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			failed++
			fmt.Fprintf(w, "FAILED  %-10s %v\n", c.name, err)
		default:
			fmt.Fprintf(w, "ok      %-10s %s\n", c.name, text)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed: this commit is not to be tagged", failed)
	}
	return nil
}

// release is a version, the repository, and a folder for what is made meanwhile.
type release struct{ version, root, temp string }

var semver = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

func (r *release) versionIsFree(ctx context.Context) (string, error) {
	if !semver.MatchString(r.version) {
		return "", fmt.Errorf("%q is no version: it should be as v1.2.3", r.version)
	}
	tags, err := command(ctx, r.root, "git", "tag", "--list", r.version)
	if err != nil {
		return "", err
	}
	if tags != "" {
		return "", fmt.Errorf("there is a tag %s already", r.version)
	}
	return r.version, nil
}

func (r *release) committed(ctx context.Context) (string, error) {
	changes, err := command(ctx, r.root, "git", "status", "--porcelain")
	if err != nil {
		return "", err
	}
	if changes != "" {
		return "", fmt.Errorf("there are changes that are not committed:\n%s", changes)
	}
	return "everything is committed", nil
}

func (r *release) changelog(context.Context) (string, error) {
	text, err := os.ReadFile(filepath.Join(r.root, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	heading := "## [" + strings.TrimPrefix(r.version, "v") + "]"
	if !strings.Contains(string(text), "\n"+heading) {
		return "", fmt.Errorf("CHANGELOG.md has no heading %q: the section Unreleased becomes that, with the date", heading)
	}
	return "has a section for it", nil
}

// api compares the API with the last tag's. Before v1 a minor version may break it, and says what.
func (r *release) api(ctx context.Context) (string, error) {
	last, err := command(ctx, r.root, "git", "describe", "--tags", "--abbrev=0")
	if last = strings.TrimSpace(last); err != nil || last == "" {
		return "there is no earlier tag to compare with", nil //nolint:nilerr // git fails where there is none
	}
	base := filepath.Join(r.temp, "base")
	if _, err := command(ctx, r.root, "git", "clone", "-q", "--branch", last, r.root, base); err != nil {
		return "", err
	}
	may := strings.HasSuffix(r.version, ".0.0") || strings.HasPrefix(r.version, "v0.") && strings.HasSuffix(r.version, ".0")
	remarks := "compatible with " + last
	for _, name := range promised {
		if _, err := os.Stat(filepath.Join(base, name)); errors.Is(err, os.ErrNotExist) {
			continue // it is new
		}
		was := filepath.Join(r.temp, name)
		if _, err := command(ctx, base, "go", "run", apidiff, "-w", was, library+"/"+name); err != nil {
			return "", err
		}
		diff, err := command(ctx, r.root, "go", "run", apidiff, "-incompatible", was, library+"/"+name)
		if err != nil {
			return "", err
		}
		if diff == "" {
			continue
		}
		if remarks = fmt.Sprintf("%s has changed since %s:\n%s", name, last, diff); !may {
			return "", fmt.Errorf("%sonly a new minor version before v1, or a new major one, may do that", remarks)
		}
	}
	return remarks, nil
}

// command runs a program and returns what it prints. The error has what it says.
func command(ctx context.Context, folder, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	return output(cmd)
}

func output(cmd *exec.Cmd) (string, error) {
	var says strings.Builder
	cmd.Stderr = &says
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, says.String())
	}
	return string(out), nil
}
