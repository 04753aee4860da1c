package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// module is a module of the repository. folder is relative to its root: "" for the library.
type module struct{ path, folder string }

// unpublished are modules that nobody imports or installs.
var unpublished = []string{"bench", "cmd/demo"}

// modules lists those that a release has.
func (r *release) modules(ctx context.Context) (all []module, err error) {
	out, err := command(ctx, r.root, "go", "list", "-m", "-f", "{{.Path}}")
	if err != nil {
		return nil, err
	}
	for name := range strings.FieldsSeq(out) {
		m := module{path: name, folder: strings.TrimPrefix(strings.TrimPrefix(name, library), "/")}
		if !slices.Contains(unpublished, m.folder) {
			all = append(all, m)
		}
	}
	return all, nil
}

// proxy makes a module proxy of files that has the version of each module. In the repository the modules lead to the library by a replace directive, which
// users do not see: a release drops it, and asks for the version instead.
func (r *release) proxy(ctx context.Context) (string, error) {
	all, err := r.modules(ctx)
	if err != nil {
		return "", err
	}
	copied := filepath.Join(r.temp, "copy")
	if _, err := command(ctx, r.root, "git", "clone", "-q", r.root, copied); err != nil {
		return "", err
	}
	var names []string
	for _, m := range all {
		if err := r.publish(ctx, copied, m); err != nil {
			return "", fmt.Errorf("%s: %w", m.path, err)
		}
		names = append(names, path.Join(".", m.folder))
	}
	return strings.Join(names, ", "), nil
}

// publish puts a module into the proxy.
func (r *release) publish(ctx context.Context, copied string, m module) error {
	folder := filepath.Join(copied, filepath.FromSlash(m.folder))
	if m.folder != "" {
		edit := []string{"mod", "edit", "-dropreplace=" + library, "-require=" + library + "@" + r.version}
		if _, err := command(ctx, folder, "go", edit...); err != nil {
			return err
		}
	}
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return err
	}
	if strings.Contains(string(mod), "\nreplace ") {
		return errors.New("go.mod has another replace directive: the module could not be installed")
	}
	at := filepath.Join(r.temp, "proxy", filepath.FromSlash(m.path), "@v")
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	// Without a list the go command would ask the next proxy for one, which knows nothing of the module.
	if err := os.WriteFile(filepath.Join(at, "list"), []byte(r.version+"\n"), 0o600); err != nil {
		return err
	}
	info := fmt.Sprintf(`{"Version":%q}`, r.version)
	if err := os.WriteFile(filepath.Join(at, r.version+".info"), []byte(info), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(at, r.version+".mod"), mod, 0o600); err != nil {
		return err
	}
	files, err := command(ctx, folder, "git", "ls-files")
	if err != nil {
		return err
	}
	return r.zip(filepath.Join(at, r.version+".zip"), folder, m, strings.Fields(files))
}

// zip makes a module's archive: its regular files, without those of modules inside of it. The go command leaves links out as well.
func (r *release) zip(name, folder string, m module, files []string) (err error) {
	var inside []string
	for _, file := range files {
		if dir, base := path.Split(file); base == "go.mod" && dir != "" {
			inside = append(inside, dir)
		}
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	archive := zip.NewWriter(out)
	for _, file := range files {
		if slices.ContainsFunc(inside, func(dir string) bool { return strings.HasPrefix(file, dir) }) {
			continue
		}
		full := filepath.Join(folder, filepath.FromSlash(file))
		if info, err := os.Lstat(full); err != nil {
			return err
		} else if !info.Mode().IsRegular() {
			continue
		}
		w, err := archive.Create(m.path + "@" + r.version + "/" + file)
		if err != nil {
			return err
		}
		if err := copyTo(w, full); err != nil {
			return err
		}
	}
	return archive.Close()
}

func copyTo(w io.Writer, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}

// goAsUser runs the go command as somebody does who knows the modules from a proxy alone.
func (r *release) goAsUser(ctx context.Context, folder string, args ...string) error {
	own, err := command(ctx, r.root, "go", "env", "GOPROXY", "GOMODCACHE")
	if err != nil {
		return err
	}
	proxy, cache, _ := strings.Cut(strings.TrimSpace(own), "\n")
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-modcacherw", "GONOSUMDB="+library,
		"GOMODCACHE="+filepath.Join(r.temp, "cache"), "GOBIN="+filepath.Join(r.temp, "bin"),
		"GOPROXY=file://"+filepath.ToSlash(r.temp)+"/proxy,file://"+filepath.ToSlash(cache)+"/cache/download,"+proxy)
	_, err = output(cmd)
	return err
}

// install installs the commands, and has each say its version.
func (r *release) install(ctx context.Context) (string, error) {
	all, err := r.modules(ctx)
	if err != nil {
		return "", err
	}
	var says []string
	for _, m := range all {
		if !strings.HasPrefix(m.folder, "cmd/") {
			continue
		}
		if err := r.goAsUser(ctx, r.temp, "install", m.path+"@"+r.version); err != nil {
			return "", err
		}
		version, err := command(ctx, r.temp, filepath.Join(r.temp, "bin", path.Base(m.path)), "--version")
		if err != nil {
			return "", err
		}
		if !strings.Contains(version, r.version) {
			return "", fmt.Errorf("%s says that it is %q", m.path, version)
		}
		says = append(says, strings.TrimSpace(version))
	}
	if len(says) == 0 {
		return "there is none to install", nil
	}
	return "installed: " + strings.Join(says, "; "), nil
}

// imports builds a program that imports the packages of all modules that are no commands.
func (r *release) imports(ctx context.Context) (string, error) {
	all, err := r.modules(ctx)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(r.temp, "user")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	var program strings.Builder
	program.WriteString("package main\n\nimport (\n")
	count := 0
	get := []string{"get"}
	for _, m := range all {
		if strings.HasPrefix(m.folder, "cmd/") {
			continue
		}
		packages := []string{m.path}
		if m.folder == "" {
			packages = nil
			for _, name := range promised {
				packages = append(packages, m.path+"/"+name)
			}
		}
		for _, name := range packages {
			fmt.Fprintf(&program, "\t_ %q\n", name)
			count++
		}
		get = append(get, m.path+"@"+r.version)
	}
	program.WriteString(")\n\nfunc main() {}\n")
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(program.String()), 0o600); err != nil {
		return "", err
	}
	for _, args := range [][]string{{"mod", "init", "example.com/user"}, get, {"mod", "tidy"}, {"build", "-o", os.DevNull, "."}} {
		if err := r.goAsUser(ctx, folder, args...); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("a program with %d of the packages builds", count), nil
}
