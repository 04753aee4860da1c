//go:build !unix

package pgserver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// errNotUnix is what every start returns here: PostgreSQL's processes are looked after by unix means.
var errNotUnix = errors.New("pgserver: throwaway servers need a unix system; give the address of a running server instead")

const pollEvery = 4 * time.Millisecond

type process struct{ pid int }

func startProcess(account, string, *os.File, string, ...string) (*process, error) {
	return nil, errNotUnix
}

func (*process) poll() bool                      { return true }
func (*process) wait(context.Context) error      { return nil }
func (*process) signal(syscall.Signal) error     { return os.ErrProcessDone }
func (*process) signalTree(syscall.Signal) error { return os.ErrProcessDone }
func (*process) wake()                           {}

func strays(string) []int { return nil }
func killPID(int)         {}

func pollUntil(context.Context, func() bool) error { return errNotUnix }

func run(context.Context, account, string, string, ...string) error { return errNotUnix }

func (account) mayPass(fs.FileInfo) bool { return true }

type watchdog struct{}

func startWatchdog(string) (*watchdog, error) { return nil, errNotUnix }
func (*watchdog) end()                        {}
