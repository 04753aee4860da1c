//go:build unix

package pgtest

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// Place is where a pooler runs. The zero value is this machine's own network.
type Place struct {
	NetNS   string // the path of a network namespace, which takes root on Linux
	Address string // to listen on, in it
}

func (p Place) address() string {
	if p.Address != "" {
		return p.Address
	}
	return "127.0.0.1"
}

// command is a program that runs as the owner of the server's files, in the place.
func (p Place) command(folder string, owner [2]int, program string, args ...string) *exec.Cmd {
	if p.NetNS != "" { // the namespace is entered as root; nsenter becomes the user, and then the program
		args = append([]string{"--net=" + p.NetNS, "--setuid=" + strconv.Itoa(owner[0]), "--setgid=" + strconv.Itoa(owner[1]), "--", program}, args...)
		program = "nsenter"
	}
	cmd := exec.Command(program, args...) //nolint:noctx // the test's clean-up ends it
	cmd.Dir = folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if os.Geteuid() == 0 && p.NetNS == "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(owner[0]), Gid: uint32(owner[1])}}
	}
	return cmd
}
