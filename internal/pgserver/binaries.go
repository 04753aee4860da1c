package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Environment variables that choose the server binaries.
const (
	// EnvBin names the folder to use; nothing else is then looked at.
	EnvBin = "LOCKKEEPER_PG_BIN"
	// EnvVersion restricts the search to one major version, for example 17.
	EnvVersion = "LOCKKEEPER_PG_VERSION"
	// EnvCache replaces the cache folder that scripts/ensure-postgres fills.
	EnvCache = "LOCKKEEPER_CACHE"
	// EnvPgBouncer names the program pgbouncer; nothing else is then looked at.
	EnvPgBouncer = "LOCKKEEPER_PGBOUNCER"
	// EnvPgpool does so for the program pgpool of pgpool-II.
	EnvPgpool = "LOCKKEEPER_PGPOOL"
)

// ErrNoBinaries says that this machine has no usable PostgreSQL server; the error that wraps it says how to get one.
var ErrNoBinaries = errors.New("no PostgreSQL server binaries found")

const installHelp = `install them, then try again:
  Debian, Ubuntu   apt-get install postgresql
  Fedora, RHEL     dnf install postgresql-server
  Alpine           apk add postgresql
  macOS            brew install postgresql
or run "make setup", which fetches them,
or set ` + EnvBin + ` to the folder that holds postgres and initdb`

// versionTimeout is far beyond the few milliseconds that a program needs to print its version.
const versionTimeout = 20 * time.Second

// FindBinaries returns the folder of postgres and initdb. It looks at, in this order: [EnvBin], PATH (links resolved),
// pg_config --bindir, the usual folders of the distributions (newest version first), and the cache folder.
func FindBinaries() (binDir string, err error) {
	binDir, _, err = findBinaries()
	return binDir, err
}

// findBinaries also says which version they are.
func findBinaries() (binDir, version string, err error) {
	want := os.Getenv(EnvVersion)
	if dir := os.Getenv(EnvBin); dir != "" {
		version, err := checkBinaries(dir, want)
		if err != nil {
			return "", "", fmt.Errorf("%w: %s=%s: %w", ErrNoBinaries, EnvBin, dir, err)
		}
		binDir, err = filepath.Abs(dir)
		return binDir, version, err
	}
	for _, dir := range candidates() {
		if version, err := checkBinaries(dir, want); err == nil {
			binDir, err = filepath.Abs(dir)
			return binDir, version, err
		}
	}
	of := ""
	if want != "" {
		of = fmt.Sprintf(" of version %s (%s)", want, EnvVersion)
	}
	return "", "", fmt.Errorf("%w%s; %s", ErrNoBinaries, of, installHelp)
}

// candidates lists the folders to look at, best first, whether they exist or not.
func candidates() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if target, err := filepath.EvalSymlinks(path); err == nil {
			path = target
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	if out, err := output("pg_config", "--bindir"); err == nil {
		dirs = append(dirs, strings.TrimSpace(out))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
		"/usr/pgsql-*/bin",                  // packages of postgresql.org for Fedora and RHEL
		"/usr/libexec/postgresql*",          // Alpine
		"/usr/lib/postgresql*/bin",          // openSUSE
		"/usr/local/pgsql/bin",              // built from source
		"/opt/homebrew/opt/postgresql*/bin", // Homebrew, Apple silicon
		"/usr/local/opt/postgresql*/bin",    // Homebrew, Intel
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		dirs = append(dirs, newestFirst(pattern)...)
	}
	if cache, err := CacheDir(); err == nil {
		dirs = append(dirs, newestFirst(filepath.Join(cache, "postgres", "*", "bin"))...)
	}
	return dirs
}

// CacheDir is the folder into which scripts/ensure-postgres puts binaries where no package can be installed. Root's is
// outside of root's home, which the unprivileged user that runs the server may not enter.
func CacheDir() (string, error) {
	if dir := os.Getenv(EnvCache); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/cache/lockkeeper", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache folder (%s sets it): %w", EnvCache, err)
	}
	return filepath.Join(dir, "lockkeeper"), nil
}

// newestFirst expands a pattern and sorts by the numbers in the paths, so that 16 comes before 9.6.
func newestFirst(pattern string) []string {
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return slices.Compare(numbers(b), numbers(a)) })
	return dirs
}

var digits = regexp.MustCompile(`\d+`)

func numbers(s string) []int {
	var ns []int
	for _, d := range digits.FindAllString(s, -1) {
		n, err := strconv.Atoi(d)
		if err != nil {
			continue // beyond an int: no version
		}
		ns = append(ns, n)
	}
	return ns
}

// checkBinaries returns the version of dir's binaries, or why they cannot be used. An empty want accepts every version.
func checkBinaries(dir, want string) (version string, err error) {
	user, err := serverAccount()
	if err != nil {
		return "", err
	}
	if err := user.canReach(dir); err != nil {
		return "", err
	}
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	version, err = binVersion(dir)
	if err == nil && want != "" && want != version && want != major(version) {
		err = fmt.Errorf("version is %s, not %s (%s)", version, want, EnvVersion)
	}
	return version, err
}

var versionLine = regexp.MustCompile(`^postgres \(PostgreSQL\) (\S+)`)

// binVersion runs postgres --version, which also shows that its libraries can be loaded, and returns "15.18".
func binVersion(dir string) (string, error) {
	out, err := output(filepath.Join(dir, "postgres"), "--version")
	if err != nil {
		return "", err
	}
	m := versionLine.FindStringSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s --version printed %q", filepath.Join(dir, "postgres"), strings.TrimSpace(out))
	}
	return m[1], nil
}

func major(version string) string { return digits.FindString(version) }

func output(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return string(out), nil
}
