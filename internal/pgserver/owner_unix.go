//go:build unix

package pgserver

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// RunAsOwner has a command that refuses to be root run as the owner of a server's data folder, whom the server's socket knows, and gives the owner
// these files. Where this process is not root nothing is done.
func RunAsOwner(cmd *exec.Cmd, dataDir string, files ...string) error {
	info, err := os.Stat(dataDir)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the server's folder has no owner")
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	for _, file := range files {
		err = errors.Join(err, os.Chown(file, int(owner.Uid), int(owner.Gid)))
	}
	return err
}
