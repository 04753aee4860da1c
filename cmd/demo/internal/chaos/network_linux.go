package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/child"
)

const (
	// toolBound is far more than ip and iptables need.
	toolBound = 10 * time.Second
	dialBound = 2 * time.Second
	maxSpaces = 200
	// inner is the name of the interface in each namespace.
	inner = "lk0"
)

// network is a namespace for each worker process. All of them reach the host at one address.
type network struct {
	prefix netip.Prefix // the host's address in it
	spaces []*space     // by process, from 0
}

// space is one network namespace. It lives as long as a process in it: one that only waits, and connects when it is told to.
type space struct {
	*child.Process
	outer string // the host's end of the cable
}

// newNetwork makes the namespaces. The error says why that is not possible here.
func newNetwork(ctx context.Context, processes int, command Commands) (_ *network, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces need root")
	}
	if processes > maxSpaces {
		return nil, fmt.Errorf("more than %d worker processes have no namespaces of their own", maxSpaces)
	}
	n := &network{}
	if n.prefix, err = freePrefix(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	for i := range processes {
		if err := n.add(ctx, i, command(PartNamespace)); err != nil {
			return nil, err
		}
	}
	if err := n.probe(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

// freePrefix picks a small network in 198.18.0.0/15, which is reserved for tests of network devices.
func freePrefix() (netip.Prefix, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, err
	}
search:
	for range 100 {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18 + byte(rand.IntN(2)), byte(rand.IntN(256)), 1}), 24)
		for _, a := range addresses {
			if other, err := netip.ParsePrefix(a.String()); err == nil && prefix.Masked().Contains(other.Addr()) {
				continue search
			}
		}
		return prefix, nil
	}
	return netip.Prefix{}, errors.New("no network of 198.18.0.0/15 is free")
}

func (n *network) add(ctx context.Context, i int, keeper *exec.Cmd) error {
	keeper.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	p, err := child.Start("a network namespace", keeper)
	if err != nil {
		return err
	}
	s := &space{Process: p, outer: fmt.Sprintf("lk%d-%d", os.Getpid()%1_000_000, i)}
	n.spaces = append(n.spaces, s)
	octets := n.prefix.Addr().As4()
	octets[3] = byte(10 + i)
	host, address := n.prefix.Addr(), netip.AddrFrom4(octets)
	// Each link has the host's one address, and a route to its own peer.
	for _, args := range []string{
		fmt.Sprintf("link add %s type veth peer name %s netns %d", s.outer, inner, s.Cmd.Process.Pid),
		fmt.Sprintf("address add %s/32 peer %s/32 dev %s", host, address, s.outer),
		fmt.Sprintf("link set %s up", s.outer),
	} {
		if err := tool(ctx, "ip "+args); err != nil {
			return err
		}
	}
	return s.run(ctx,
		fmt.Sprintf("ip address add %s/32 peer %s/32 dev %s", address, host, inner),
		fmt.Sprintf("ip link set %s up", inner),
		"ip link set lo up")
}

// probe makes sure that the host's packet filter lets the namespaces reach it, and that ours works.
func (n *network) probe(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(n.prefix.Addr(), 0).String())
	if err != nil {
		return err
	}
	defer l.Close()
	s := n.spaces[0]
	if err := s.dial(l.Addr().String()); err != nil {
		return fmt.Errorf("a network namespace does not reach the host, whose packet filter may be in the way: %w", err)
	}
	if err := s.cut(ctx, true, true); err != nil {
		return err
	}
	if err := s.dial(l.Addr().String()); err == nil {
		return errors.New("iptables drops no packets here")
	}
	return s.heal(ctx)
}

// dial connects from inside.
func (s *space) dial(address string) error { return call(s.Process, "Dial", address, nil, readyBound) }

// dialer is a process that keeps a namespace.
type dialer struct{}

// Dial reports whether an address can be reached.
func (*dialer) Dial(address string, _ *struct{}) error {
	conn, err := net.DialTimeout("tcp", address, dialBound) //nolint:noctx // bounded
	if err != nil {
		return err
	}
	return conn.Close()
}

// cut drops a namespace's packets to the server, from it, or both.
func (s *space) cut(ctx context.Context, up, down bool) error {
	var commands []string
	if up {
		commands = append(commands, "iptables -w -A OUTPUT -o "+inner+" -j DROP")
	}
	if down {
		commands = append(commands, "iptables -w -A INPUT -i "+inner+" -j DROP")
	}
	return s.run(ctx, commands...)
}

// heal ends cut.
func (s *space) heal(ctx context.Context) error { return s.run(ctx, "iptables -w -F") }

// enter makes a command run inside.
func (s *space) enter(cmd *exec.Cmd) {
	args := append([]string{"-t", strconv.Itoa(s.Cmd.Process.Pid), "-n", "--", cmd.Path}, cmd.Args[1:]...)
	inside := exec.CommandContext(context.Background(), "nsenter", args...) // its parts are taken: it is not run itself
	cmd.Path, cmd.Args, cmd.Err = inside.Path, inside.Args, inside.Err
}

// run runs commands inside.
func (s *space) run(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		if err := tool(ctx, fmt.Sprintf("nsenter -t %d -n -- %s", s.Cmd.Process.Pid, command)); err != nil {
			return err
		}
	}
	return nil
}

// close returns when the interfaces are gone. They go with their namespaces, but the kernel takes its time for that.
func (n *network) close() {
	for _, s := range n.spaces {
		s.End(0)
		_ = tool(context.Background(), "ip link del "+s.outer) // it may be gone already
	}
}

func tool(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, toolBound)
	defer cancel()
	args := strings.Fields(command)
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}
