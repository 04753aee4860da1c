package netfault

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
)

// DialContext connects from the client's end. A socket belongs to the namespace that its thread is in when it is made, and
// stays there: the rest of this process is where it was.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer home.Close()
	away, err := os.Open(n.ClientNS())
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer away.Close()
	if err := enter(away); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	// An address in digits is dialled on this very goroutine.
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if back := enter(home); back != nil {
		// The thread stays locked, and so ends with its goroutine: nobody else must run in that namespace.
		panic(fmt.Sprintf("BUG: cannot return from a network namespace: %v", back))
	}
	runtime.UnlockOSThread()
	return conn, err
}

const cloneNewNet = 0x40000000

func enter(namespace *os.File) error {
	if _, _, errno := syscall.RawSyscall(setns, namespace.Fd(), cloneNewNet, 0); errno != 0 {
		return fmt.Errorf("entering a network namespace: %w", errno)
	}
	return nil
}
