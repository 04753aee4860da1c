package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// What processes have used is read from Linux's /proc. Elsewhere the figures are missing, which is an error.

// tick is the unit of CPU time in /proc. Linux shows 100 a second whatever the kernel's own clock is.
const tick = time.Second / 100

// Meter reads the CPU time of this process and of one server.
type Meter struct {
	// Server is the process id of the server's first process. Its descendants count. Zero means no server.
	Server int
}

// Reading is the CPU time used until now.
type Reading struct{ Client, Server time.Duration }

// Read reads both. A process that ends between two readings counts once its parent has waited for it.
func (m Meter) Read() (r Reading, err error) {
	t, err := processes(procfs.DefaultMountPoint)
	if err != nil {
		return r, err
	}
	children, err := t.tree(os.Getpid())
	if err != nil {
		return r, err
	}
	// For this process and children that have ended the figure is exact, for living ones to a tick.
	r.Client = cpu(children[1:])
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			return r, fmt.Errorf("reading this process's CPU time: %w", err)
		}
		r.Client += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	if m.Server == 0 {
		return r, nil
	}
	server, err := t.tree(m.Server)
	r.Server = cpu(server)
	return r, err
}

// cpu sums the CPU time of processes, each with the children that it has waited for.
func cpu(processes []procfs.ProcStat) time.Duration {
	var total time.Duration
	for _, s := range processes {
		total += time.Duration(int(s.UTime)+int(s.STime)+s.CUTime+s.CSTime) * tick
	}
	return total
}

// table is the processes of the machine by their parents.
type table map[int][]procfs.ProcStat

func processes(proc string) (table, error) {
	files, err := procfs.NewFS(proc)
	if err != nil {
		return nil, fmt.Errorf("CPU time and memory are read from /proc: %w", err)
	}
	all, err := files.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("CPU time and memory are read from /proc: %w", err)
	}
	t := table{}
	for _, p := range all {
		s, err := p.Stat()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		t[s.PPID] = append(t[s.PPID], s)
	}
	return t, nil
}

// tree returns a process and all processes below it.
func (t table) tree(root int) ([]procfs.ProcStat, error) {
	for _, siblings := range t {
		at := slices.IndexFunc(siblings, func(s procfs.ProcStat) bool { return s.PID == root })
		if at < 0 {
			continue
		}
		tree := siblings[at : at+1 : at+1]
		for i := 0; i < len(tree); i++ {
			tree = append(tree, t[tree[i].PID]...)
		}
		return tree, nil
	}
	return nil, fmt.Errorf("process %d is not there", root)
}

// others is the CPU time that all processes of the machine have used, without those of the given trees: what disturbs a
// measurement. The time that a hypervisor gave to somebody else counts.
func others(roots ...int) (time.Duration, error) {
	files, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	all, err := files.Stat()
	if err != nil {
		return 0, err
	}
	t, err := processes(procfs.DefaultMountPoint)
	if err != nil {
		return 0, err
	}
	total := all.CPUTotal
	busy := time.Duration((total.User + total.Nice + total.System + total.IRQ + total.SoftIRQ + total.Steal) * float64(time.Second))
	ours := map[int]bool{} // by process, since one tree may be a part of another
	for _, root := range roots {
		tree, err := t.tree(root)
		if err != nil {
			return 0, err
		}
		for _, s := range tree {
			if !ours[s.PID] {
				ours[s.PID] = true
				busy -= cpu([]procfs.ProcStat{s})
			}
		}
	}
	return max(0, busy), nil
}

// peakRSS is the most memory that this process ever had resident. It is not taken from getrusage, whose figure a child
// inherits from the process that started it.
func peakRSS() (int64, error) {
	s, err := status()
	return int64(s.VmHWM), err
}

// RSS is the memory that this process has resident now.
func RSS() (int64, error) {
	s, err := status()
	return int64(s.VmRSS), err
}

func status() (procfs.ProcStatus, error) {
	self, err := procfs.Self()
	if err != nil {
		return procfs.ProcStatus{}, err
	}
	return self.NewStatus()
}

// Connections counts the open connections of this process and its children to a server. The address is host:port, or the
// path of a unix socket.
func Connections(address string) (int, error) {
	return connections(procfs.DefaultMountPoint, os.Getpid(), address)
}

func connections(proc string, pid int, address string) (n int, err error) {
	files, err := procfs.NewFS(proc)
	if err != nil {
		return 0, err
	}
	if strings.HasPrefix(address, "/") {
		all, err := files.NetUNIX()
		if err != nil {
			return 0, err
		}
		for _, row := range all.Rows {
			// Only the server's ends have the path: clients' ends have no name.
			if row.Path == address && row.State.String() == "connected" {
				n++
			}
		}
		return n, nil
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, err
	}
	own, err := sockets(files, proc, pid)
	if err != nil {
		return 0, err
	}
	all, err := files.NetTCP() //nolint:staticcheck // what is offered instead needs a socket of its own for the same list
	if err != nil {
		return 0, err
	}
	const established = 1
	for _, line := range all {
		socket := fmt.Sprintf("socket:[%d]", line.Inode)
		if line.St == established && line.RemAddr.String() == to.Addr().String() && line.RemPort == uint64(to.Port()) && own[socket] {
			delete(own, socket) // the kernel lists a connection again if others come or go between two reads of the list
			n++
		}
	}
	return n, nil
}

// sockets are those that a process and its descendants have open.
func sockets(files procfs.FS, proc string, pid int) (map[string]bool, error) {
	t, err := processes(proc)
	if err != nil {
		return nil, err
	}
	tree, err := t.tree(pid)
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for _, s := range tree {
		p, err := files.Proc(s.PID)
		if err != nil {
			continue // it has ended meanwhile
		}
		targets, _ := p.FileDescriptorTargets()
		for _, target := range targets {
			open[target] = true
		}
	}
	return open, nil
}
