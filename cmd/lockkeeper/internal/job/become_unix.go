//go:build unix

package job

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// start starts the program once more, as a process that becomes the command by [Become]. It tells the watchdog of its group before: also where
// this process is stopped or killed at once, the watchdog knows of whatever the command has started. The file that is returned has the reason
// why it did not become the command, and is empty where it did. Without a watchdog the process is the command at once, and there is no file.
func (w *Watchdog) start(c Command, attributes *os.ProcAttr) (process *os.Process, reason *os.File, err error) {
	if w == nil {
		process, err = os.StartProcess(c.Path, c.Args, attributes)
		return process, nil, err
	}
	reason, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		_ = theirs.Close()
		if err != nil {
			_ = reason.Close()
		}
	}()
	// They keep their numbers: the command may have files of other numbers from whoever has started lockkeeper.
	args := append([]string{os.Args[0]}, w.become...)
	for _, pipe := range []*os.File{w.pipe, theirs} {
		number, err := keepOverExec(pipe)
		if err != nil {
			return nil, reason, err
		}
		defer syscall.CloseOnExec(number)
		args = append(args, strconv.Itoa(number))
	}
	process, err = os.StartProcess(w.program, append(append(args, c.Path), c.Args...), attributes)
	return process, reason, err
}

// keepOverExec has the processes that are started from now on inherit a file, and returns its number.
func keepOverExec(f *os.File) (number int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		number = int(fd)
		_, err = unix.FcntlInt(fd, unix.F_SETFD, 0)
	})
	return number, errors.Join(controlErr, err)
}

// Become is what the command's process does first, with the arguments that [Watchdog.start] gives it: the numbers of the watchdog's pipe and of
// that for the reason, the program's path and its arguments. It returns only where it cannot become the command.
func Become(args []string) error {
	if len(args) < 4 {
		return errors.New("this is for lockkeeper itself")
	}
	var pipes [2]int
	for i := range pipes {
		number, err := strconv.Atoi(args[i])
		if err != nil || number <= 2 {
			return fmt.Errorf("%s is no pipe's number", args[i])
		}
		pipes[i] = number
		syscall.CloseOnExec(number)
	}
	_, _ = syscall.Write(pipes[0], []byte(strconv.Itoa(os.Getpid())+"\n")) // one that is killed does not guard
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stillEndWithParent()
	err := syscall.Exec(args[2], args[3:], os.Environ())
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		_, _ = syscall.Write(pipes[1], []byte(strconv.Itoa(int(errno))))
	}
	return err
}

// whyNotBegun reads the reason and closes its file, after the end of the process that was to become the command. It is nil where it did, was killed
// before, or there is no file.
func whyNotBegun(reason *os.File) error {
	if reason == nil {
		return nil
	}
	defer func() { _ = reason.Close() }()
	text, err := io.ReadAll(reason)
	if err != nil || len(text) == 0 {
		return err
	}
	errno, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	return syscall.Errno(errno)
}
