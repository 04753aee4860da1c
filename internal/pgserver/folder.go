package pgserver

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// maxSocketPath is what sun_path of the kernels takes at least (macOS: 104 with the final zero byte).
const maxSocketPath = 103

// account is the user that runs the server; the zero value is the user of this process.
type account struct {
	name     string
	uid, gid int
	set      bool
}

// serverAccount picks the unprivileged user where this process is root's.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		return account{name: name, uid: uid, gid: gid, set: true}, nil
	}
	return account{}, fmt.Errorf("pgserver: PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody")
}

// own gives a file to the account.
func (a account) own(path string) error {
	if !a.set {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// makeFolder creates the server's folder, private to the account. It is made in the system's temporary folder, or in
// /tmp where that one's path is too long for a socket or closed to the account.
func makeFolder(a account, parent string) (string, error) {
	parents := []string{parent}
	if parent == "" {
		parents = []string{os.TempDir(), "/tmp"}
	}
	var firstErr error
	for _, p := range parents {
		dir, err := tryFolder(a, p)
		if err == nil {
			return dir, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return "", fmt.Errorf("pgserver: temporary folder: %w", firstErr)
}

func tryFolder(a account, parent string) (string, error) {
	// Links resolved, so that the server's own path is the one its command line and its pid file show.
	parent, err := filepath.EvalSymlinks(parent)
	if err != nil {
		return "", err
	}
	if err := a.canReach(parent); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(parent, "lkpg-") // mode 0700: the socket in it asks for no password
	if err != nil {
		return "", err
	}
	if n := len(dir) + len("/.s.PGSQL.65535"); n > maxSocketPath {
		os.Remove(dir)
		return "", fmt.Errorf("%s: a socket in it would have %d bytes, more than the system's %d", dir, n, maxSocketPath)
	}
	if err := a.own(dir); err != nil {
		os.Remove(dir)
		return "", err
	}
	return dir, nil
}

// canReach reports the first folder on the way to path that the account may not pass.
func (a account) canReach(path string) error {
	if !a.set {
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if !a.mayPass(info) {
			return fmt.Errorf("%s is closed to the user %s, who runs the server", dir, a.name)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
