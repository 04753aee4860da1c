package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// ErrNoPgBouncer says that this machine has no PgBouncer; the error that wraps it says how to get it.
var ErrNoPgBouncer = errors.New("no pgbouncer found")

const pgBouncerHelp = `install it, then try again:
  Debian, Ubuntu   apt-get install pgbouncer
  Fedora, RHEL     dnf install pgbouncer
  Alpine           apk add pgbouncer
  macOS            brew install pgbouncer
or set ` + EnvPgBouncer + ` to the program`

// FindPgBouncer returns the path of the program pgbouncer: [EnvPgBouncer], PATH, then the folders for system programs,
// which a user's PATH often lacks.
func FindPgBouncer() (path string, err error) {
	if path := os.Getenv(EnvPgBouncer); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%w: %s: %w", ErrNoPgBouncer, EnvPgBouncer, err)
		}
		return found, nil
	}
	for _, name := range []string{
		"pgbouncer", "/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer", "/usr/bin/pgbouncer",
		"/opt/homebrew/bin/pgbouncer", "/usr/local/bin/pgbouncer",
	} {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%w; %s", ErrNoPgBouncer, pgBouncerHelp)
}
