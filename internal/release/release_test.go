package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repository makes a repository of one commit, with these files.
func repository(t *testing.T, files map[string]string) *release {
	t.Helper()
	r := &release{version: "v0.1.0", root: t.TempDir(), temp: t.TempDir()}
	for name, text := range files {
		name = filepath.Join(r.root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-q", "-m", "test"}} {
		if _, err := command(t.Context(), r.root, "git", args...); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestVersion(t *testing.T) {
	r := repository(t, map[string]string{"a": ""})
	if _, err := command(t.Context(), r.root, "git", "tag", "v1.0.0"); err != nil {
		t.Fatal(err)
	}
	for version, good := range map[string]bool{"v0.1.0": true, "v1.2.3-rc.1": true, "v1.0.0": false, "1.0.1": false, "v1.2": false, "v01.2.3": false} {
		r.version = version
		if _, err := r.versionIsFree(t.Context()); (err == nil) != good {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestWorkTreeAndChangelog(t *testing.T) {
	r := repository(t, map[string]string{"CHANGELOG.md": "# Changelog\n\n## Unreleased\n"})
	if _, err := r.committed(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.changelog(t.Context()); err == nil {
		t.Error("the section that is missing is not missed")
	}
	if err := os.WriteFile(filepath.Join(r.root, "CHANGELOG.md"), []byte("# Changelog\n\n## [0.1.0] - 2026-11-29\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.changelog(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.committed(t.Context()); err == nil {
		t.Error("the change is not seen")
	}
}

// A module's archive has its own files, and asks for the version of the library.
// A link, as to the documentation in testdata, is no part of a module's archive.
func TestPublish(t *testing.T) {
	r := repository(t, map[string]string{
		"go.mod": "module " + library + "\n\ngo 1.25.0\n", "a.go": "package a\n", "cmd/x/main.go": "package main\n",
		"cmd/x/go.mod": "module " + library + "/cmd/x\n\ngo 1.25.0\n\nreplace " + library + " => ../..\n\nrequire " + library + " v0.0.0\n",
	})
	link := filepath.Join(r.root, "cmd", "x", "docs")
	if err := os.Symlink("../..", link); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t.Context(), r.root, "git", "add", link); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		module
		files []string
	}{{module{library, ""}, []string{"a.go", "go.mod"}}, {module{library + "/cmd/x", "cmd/x"}, []string{"go.mod", "main.go"}}} {
		if err := r.publish(t.Context(), r.root, m.module); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(r.temp, "proxy", filepath.FromSlash(m.path), "@v")
		archive, err := zip.OpenReader(filepath.Join(at, "v0.1.0.zip"))
		if err != nil {
			t.Fatal(err)
		}
		var files []string
		for _, f := range archive.File {
			files = append(files, strings.TrimPrefix(f.Name, m.path+"@v0.1.0/"))
		}
		_ = archive.Close()
		if slices.Sort(files); !slices.Equal(files, m.files) {
			t.Errorf("%s has %v", m.path, files)
		}
		mod, err := os.ReadFile(filepath.Join(at, "v0.1.0.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(mod), "replace") || m.folder != "" && !strings.Contains(string(mod), library+" v0.1.0") {
			t.Errorf("%s: %s", m.path, mod)
		}
	}
}
