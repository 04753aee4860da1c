//go:build unix

package pgserver

import (
	"fmt"
	"os"
	"os/exec"
)

// watchdogScript waits for the end of its standard input, which comes when the process that started it is gone, however
// it went, and then ends the server and removes its folder. The pid file is believed only where that process's command
// line names the folder: a killed server leaves its pid behind, and the system may have given it to another program.
const watchdogScript = `
read -r line
pid=
[ -f "$1/data/postmaster.pid" ] && read -r pid <"$1/data/postmaster.pid"
runs() {
	[ -n "$pid" ] || return 1
	if [ -d /proc/self ]; then line=$(tr '\000' ' ' <"/proc/$pid/cmdline"); else line=$(ps -o args= -p "$pid"); fi
	case "$line" in *"$1/data"*) return 0 ;; esac
	return 1
}
if runs "$1"; then
	kill -CONT "$pid"
	kill -QUIT "$pid"
	n=0
	while runs "$1" && [ $n -lt 80 ]; do sleep 0.1; n=$((n + 1)); done
	runs "$1" && kill -KILL "$pid"
fi
n=0
while [ -e "$1" ] && [ $n -lt 50 ]; do rm -rf "$1"; sleep 0.1; n=$((n + 1)); done
`

// watchdog removes what a process leaves behind that ends without calling Close.
type watchdog struct {
	cmd  *exec.Cmd
	pipe *os.File // its other end is the script's standard input
}

func startWatchdog(folder string) (*watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command( //nolint:noctx // it outlives every call; end stops it
		"/bin/sh", "-c", watchdogScript, "lockkeeper-watchdog", folder)
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.Env = serverEnv("/")
	// As root where this process is root: the folder's parent may be closed to the account.
	cmd.SysProcAttr = account{}.sysProcAttr()
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("pgserver: watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, pipe: w}, nil
}

// end dismisses the watchdog; the folder is its caller's again.
func (w *watchdog) end() {
	if w == nil {
		return
	}
	// Killed before the pipe closes: it must not take the end of the pipe for the end of this process.
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
	w.pipe.Close()
}
