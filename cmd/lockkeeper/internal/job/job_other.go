//go:build !unix

package job

import (
	"io"
	"os"
)

// Watchdog is none here.
type Watchdog struct{}

// StartWatchdog starts none.
func StartWatchdog(string, []string, []string) (*Watchdog, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Watchdog) Close() {}

// Watch does nothing.
func Watch(io.Reader) {}

// Become refuses.
func Become([]string) error { return ErrUnsupported }

// Run refuses.
func Run(Command, Hold, *Watchdog) (Result, error) { return Result{}, ErrUnsupported }

// ForwardedSignals are what there is.
func ForwardedSignals() []os.Signal { return []os.Signal{os.Interrupt} }

// Describe says why a command could not be started.
func Describe(_ string, err error) error { return err }

// StopBy does nothing.
func StopBy(os.Signal) {}
