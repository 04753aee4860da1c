package pgtest

import (
	"os"
	"testing"
)

// longestFolder leaves room for a server's folder and a socket in it.
const longestFolder = 50

// Folder is one that the unprivileged user of a server that root starts can enter, with a path short enough for a socket;
// the testing package's own is neither.
func Folder(tb testing.TB) string {
	tb.Helper()
	parent := os.TempDir()
	if len(parent) > longestFolder {
		parent = "/tmp"
	}
	folder, err := os.MkdirTemp(parent, "lkt-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		tb.Fatal(err)
	}
	return folder
}
