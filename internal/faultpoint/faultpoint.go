// Package faultpoint lets a program of this repository make its own lock managers fail on purpose. It is how the demo's
// chaos injects a keeper's panic without a public option for it; in a program that installs nothing it does nothing.
package faultpoint

import "sync/atomic"

// Hook is called at every step of every keeper's life, with the lock's id and the name of the step. It may panic, as a
// keeper with a bug would.
type Hook func(id int64, step string)

var installed atomic.Pointer[Hook]

// Install sets the hook of all managers that are opened from now on in this process; nil takes it away.
func Install(hook Hook) {
	if hook == nil {
		installed.Store(nil)
		return
	}
	installed.Store(&hook)
}

// Installed is the hook for a manager that is being opened, nil where there is none.
func Installed() Hook {
	if hook := installed.Load(); hook != nil {
		return *hook
	}
	return nil
}
