package baseline

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
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

// workspace writes a go.work that is the source's own with the library at the commit beside.
func (b Builder) workspace(ctx context.Context, folder, tree string) error {
	text, err := b.run(ctx, b.Source, nil, "work", "edit", "-json", filepath.Join(b.Source, "go.work"))
	if err != nil {
		return err
	}
	var own struct {
		Go  string
		Use []struct{ DiskPath string }
	}
	if err := json.Unmarshal(text, &own); err != nil {
		return fmt.Errorf("reading go.work: %w", err)
	}
	var work strings.Builder
	fmt.Fprintf(&work, "go %s\n\n", own.Go)
	for _, use := range own.Use {
		path := filepath.FromSlash(use.DiskPath)
		if !filepath.IsAbs(path) {
			path = filepath.Join(b.Source, path)
		}
		fmt.Fprintf(&work, "use %s\n", strconv.Quote(path))
	}
	fmt.Fprintf(&work, "use %s\n", strconv.Quote(tree))
	if err := os.WriteFile(filepath.Join(folder, "go.work"), []byte(work.String()), 0o600); err != nil {
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
		if err != nil || !importsLibrary(path, text) {
			return err
		}
		other := filepath.Join(folder, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		replace[path] = other
		return os.WriteFile(other, renameImports(path, text, isLibrary), 0o600)
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

func importsLibrary(name string, text []byte) bool {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
	if err != nil {
		return false // the compiler will say so
	}
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil && isLibrary(path) {
			return true
		}
	}
	return false
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

// ownFlags are the build flags of this program that change how code is made: the other program has to have them too.
func ownFlags() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	var flags []string
	for _, setting := range info.Settings {
		switch setting.Key {
		case "-race", "-tags", "-gcflags", "-ldflags", "-asmflags":
			flags = append(flags, setting.Key+"="+setting.Value)
		}
	}
	return flags
}

// run runs the go command and returns what it prints. An error has the first lines of what it said.
func (b Builder) run(ctx context.Context, folder string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go removes its temporary files then
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if text := firstLines(said.String()); text != "" {
			return nil, fmt.Errorf("go %s: %w:\n%s", args[0], err, text)
		}
		return nil, fmt.Errorf("go %s: %w", args[0], err)
	}
	return out.Bytes(), nil
}

// firstLines keeps an error to what a screen has room for.
func firstLines(text string) string {
	const most = 20
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d lines more", len(lines)-most))
	}
	return strings.Join(lines, "\n")
}
