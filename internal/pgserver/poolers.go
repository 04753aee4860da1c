package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// ErrNoPgBouncer says that this machine has no PgBouncer, ErrNoPgpool that it has no pgpool-II; the error that wraps it says how to get it.
var (
	ErrNoPgBouncer = errors.New("no pgbouncer found")
	ErrNoPgpool    = errors.New("no pgpool found")
)

const pgBouncerHelp = `install it, then try again:
  Debian, Ubuntu   apt-get install pgbouncer
  Fedora, RHEL     dnf install pgbouncer
  Alpine           apk add pgbouncer
  macOS            brew install pgbouncer
or set ` + EnvPgBouncer + ` to the program`

const pgpoolHelp = `install it, then try again:
  Debian, Ubuntu   apt-get install pgpool2
  Alpine           apk add pgpool
  macOS            brew install pgpool-ii
or set ` + EnvPgpool + ` to the program`

// FindPgBouncer returns the path of the program pgbouncer: [EnvPgBouncer], PATH, then the folders for system programs,
// which a user's PATH often lacks.
func FindPgBouncer() (path string, err error) {
	return findProgram(EnvPgBouncer, "pgbouncer", ErrNoPgBouncer, pgBouncerHelp)
}

// FindPgpool returns the path of the program pgpool, in the same way: [EnvPgpool] is looked at first.
func FindPgpool() (path string, err error) {
	return findProgram(EnvPgpool, "pgpool", ErrNoPgpool, pgpoolHelp)
}

func findProgram(env, name string, none error, help string) (path string, err error) {
	if path := os.Getenv(env); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%w: %s: %w", none, env, err)
		}
		return found, nil
	}
	for _, folder := range []string{"", "/usr/sbin/", "/usr/local/sbin/", "/usr/bin/", "/opt/homebrew/bin/", "/usr/local/bin/"} {
		if found, err := exec.LookPath(folder + name); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%w; %s", none, help)
}
