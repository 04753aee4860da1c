// Package baseline builds the harness with the library of another commit.
//
// Each measurement of the harness is a process of its own, so the two versions of the library need not be in one program.
// Build makes a second program from the harness's sources as they are now and the library as it was then:
//
//  1. The library's sources at the commit come from git archive, so the checkout may be dirty and is not touched. They go to
//     a cache folder that is named for the full commit hash.
//  2. Their module is renamed, from github.com/lockkeeper/lockkeeper to github.com/lockkeeper/lockkeeper-baseline. The helper
//     packages that the harness measures with are thus today's, and those of the library are its own.
//  3. A generated go.work adds that module. A build overlay changes one thing in the harness: the files that import the
//     library import the renamed one.
//
// The code that measures is therefore the same source in both programs, and processes that a scenario starts are of the same
// program as the one that starts them. All other modules have the same versions in both, unless the commit needs newer ones.
package baseline

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Builder builds a program with the library of another commit.
type Builder struct {
	// Source is the root of the checkout with the harness's sources; Repository is where commits come from, Source where it
	// is empty.
	Source, Repository string
	// Package is the import path of the main package to build.
	Package string
	// Cache is the folder that keeps the sources of commits.
	Cache string
	// Say is told what goes on, a line at a time.
	Say func(text string)
}

// Program is an executable with the library at the commit.
type Program struct {
	Path string
	// Own is a copy of this program. How much of an executable's file a process has in memory depends on how the file was
	// written: where memory is compared, both programs have to be copies.
	Own    string
	Commit Commit
	folder string
}

// Close removes the executables. The sources of the commit stay in the cache.
func (p Program) Close() error { return os.RemoveAll(p.folder) }

// Build makes the program. When ctx ends it stops, removes what it has made and returns the context's cause. The caller
// closes the program.
func (b Builder) Build(ctx context.Context, revision string) (_ Program, err error) {
	if b.Repository == "" {
		b.Repository = b.Source
	}
	began := time.Now()
	c, err := Resolve(ctx, b.Repository, revision)
	if err != nil {
		return Program{}, err
	}
	b.Say(fmt.Sprintf("baseline %s: extracting its sources", c))
	tree, err := extract(ctx, b.Repository, b.Cache, c)
	if err != nil {
		return Program{}, err
	}
	folder, err := os.MkdirTemp("", "lockkeeper-bench-baseline-")
	if err != nil {
		return Program{}, err
	}
	p := Program{Path: filepath.Join(folder, "baseline"), Own: filepath.Join(folder, "own"), Commit: c, folder: folder}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if err := b.workspace(ctx, folder, tree); err != nil {
		return p, err
	}
	if err := b.overlay(folder); err != nil {
		return p, err
	}
	b.Say(fmt.Sprintf("baseline %s: building, which takes minutes where nothing was built before", c.Short()))
	if err := b.compile(ctx, p); err != nil {
		return p, err
	}
	if err := copies(p); err != nil {
		return p, err
	}
	b.Say(fmt.Sprintf("baseline %s: built within %v", c.Short(), time.Since(began).Round(100*time.Millisecond)))
	return p, nil
}

// workspace writes a go.work that has the modules of the source's own, and the library at the commit.
func (b Builder) workspace(ctx context.Context, folder, tree string) error {
	modules, err := b.run(ctx, b.Source, nil, "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	args := append([]string{"work", "init", tree}, strings.Split(strings.TrimSpace(string(modules)), "\n")...)
	if _, err := b.run(ctx, folder, []string{"GOWORK=" + filepath.Join(folder, "go.work")}, args...); err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(b.Source, "go.work.sum"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "go.work.sum"), sums, 0o600)
}

// overlay writes copies of the harness's files that import the library, with the renamed one imported instead, and the list
// that the compiler takes them by.
func (b Builder) overlay(folder string) error {
	replace := map[string]string{}
	err := filepath.WalkDir(filepath.Join(b.Source, "bench"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		renamed := renameImports(path, text, isLibrary)
		if bytes.Equal(renamed, text) {
			return nil
		}
		replace[path] = filepath.Join(folder, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		return os.WriteFile(replace[path], renamed, 0o600)
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "overlay.json"), text, 0o600)
}

// isLibrary reports whether a harness's import is one of the packages under test. The harness itself is not, and neither are
// the helpers that it measures with.
func isLibrary(path string) bool {
	rest, ours := strings.CutPrefix(path, module+"/")
	top, _, _ := strings.Cut(rest, "/")
	return ours && top != "bench" && top != "internal"
}

func (b Builder) compile(ctx context.Context, p Program) error {
	args := append([]string{"build", "-buildvcs=false", "-overlay", filepath.Join(p.folder, "overlay.json"), "-o", p.built()}, ownFlags()...)
	_, err := b.run(ctx, filepath.Join(b.Source, "bench"), []string{"GOWORK=" + filepath.Join(p.folder, "go.work")}, append(args, b.Package)...)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%s does not build with the harness of this checkout: %w", p.Commit, err)
	}
	// An overlay that names other files than the compiler reads would be no error, and today's library would be measured as
	// the baseline.
	info, err := buildinfo.ReadFile(p.built())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == renamed }) {
		return errors.New("BUG: the program was built without the library at the baseline's commit")
	}
	return nil
}

// built is where the compiler puts the program.
func (p Program) built() string { return filepath.Join(p.folder, "built") }

// copies makes Path a copy of what the compiler has written, and Own one of this program.
func copies(p Program) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, c := range [][2]string{{p.built(), p.Path}, {self, p.Own}} {
		if err := copyFile(c[0], c[1]); err != nil {
			return err
		}
	}
	return os.Remove(p.built())
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	// Without ReadFrom, by which the kernel may share the file's blocks, and its pages then differ.
	_, err = io.Copy(struct{ io.Writer }{out}, struct{ io.Reader }{in})
	return errors.Join(err, out.Close())
}

// ownFlags are the build flags of this program that change how code is made: the other program has to have them too. It has one tag more.
func ownFlags() []string {
	var flags []string
	tags := []string{"baseline"} // keeps out what only today's library has
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch setting.Key {
			case "-race", "-gcflags", "-ldflags", "-asmflags":
				flags = append(flags, setting.Key+"="+setting.Value)
			case "-tags":
				tags = append(tags, setting.Value)
			}
		}
	}
	return append(flags, "-tags="+strings.Join(tags, ","))
}

// run runs the go command and returns what it prints.
func (b Builder) run(ctx context.Context, folder string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	return output(ctx, cmd, "go "+args[0])
}
