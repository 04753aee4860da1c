package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// toolBound is far more than ip and iptables need.
const toolBound = 10 * time.Second

// Commands make the commands of the demo's own processes.
type Commands func(part string) *exec.Cmd

// The parts that this program plays when it is started by itself.
const (
	PartWorker    = "worker"
	PartForwarder = "forwarder"
	PartNamespace = "namespace"
)

// network is a namespace for each worker process, all of which reach the host by one address.
type network struct {
	prefix netip.Prefix // the host's address in it
	spaces []*space
	netem  bool // tc can delay packets here
}

// space is one network namespace. It lives as long as a process in it: one that only waits.
type space struct {
	keeper  *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Reader
	address netip.Addr
	outer   string // the host's end of the cable
}

// inner is the name of the interface inside each namespace.
const inner = "lk0"

// newNetwork makes the namespaces. The error says why this cannot be done here.
func newNetwork(ctx context.Context, n int, command Commands) (_ *network, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces need root")
	}
	for _, tool := range []string{"ip", "iptables", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("network namespaces need the program %s", tool)
		}
	}
	if n > 200 {
		return nil, errors.New("more than 200 worker processes have no namespaces of their own")
	}
	net := &network{}
	if net.prefix, err = freePrefix(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			net.close()
		}
	}()
	for i := range n {
		if err := net.add(ctx, i, command); err != nil {
			return nil, err
		}
	}
	_, tcErr := net.spaces[0].run(ctx, "tc", "qdisc", "replace", "dev", inner, "root", "netem", "delay", "1ms")
	if tcErr == nil {
		net.netem = true
		_, tcErr = net.spaces[0].run(ctx, "tc", "qdisc", "del", "dev", inner, "root")
	}
	if net.netem && tcErr != nil {
		return nil, tcErr
	}
	return net, net.probe(ctx)
}

// freePrefix picks a small network out of the range that is set aside for tests of network devices.
func freePrefix() (netip.Prefix, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for range 100 {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18 + byte(rand.IntN(2)), byte(rand.IntN(256)), 1}), 24)
		used := false
		for _, a := range addresses {
			if other, err := netip.ParsePrefix(a.String()); err == nil && prefix.Masked().Contains(other.Addr()) {
				used = true
			}
		}
		if !used {
			return prefix, nil
		}
	}
	return netip.Prefix{}, errors.New("no network of 198.18.0.0/15 is free")
}

func (n *network) add(ctx context.Context, i int, command Commands) error {
	s := &space{keeper: command(PartNamespace)}
	s.keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := s.keeper.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := s.keeper.StdoutPipe()
	if err != nil {
		return err
	}
	s.stdin, s.answers = stdin, bufio.NewReader(stdout)
	if err := s.keeper.Start(); err != nil {
		return fmt.Errorf("a network namespace: %w", err)
	}
	n.spaces = append(n.spaces, s)
	octets := n.prefix.Addr().As4()
	octets[3] = byte(10 + i)
	s.address = netip.AddrFrom4(octets)
	s.outer = fmt.Sprintf("lk%d-%d", os.Getpid()%1_000_000, i)
	host := n.prefix.Addr().String()
	for _, args := range [][]string{
		{"link", "add", s.outer, "type", "veth", "peer", "name", inner, "netns", strconv.Itoa(s.keeper.Process.Pid)},
		// Each link has the host's one address, and a route to its own peer.
		{"address", "add", host + "/32", "peer", s.address.String() + "/32", "dev", s.outer},
		{"link", "set", s.outer, "up"},
	} {
		if _, err := tool(ctx, "ip", args...); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"address", "add", s.address.String() + "/32", "peer", host + "/32", "dev", inner},
		{"link", "set", inner, "up"},
		{"link", "set", "lo", "up"},
	} {
		if _, err := s.run(ctx, "ip", args...); err != nil {
			return err
		}
	}
	return nil
}

// probe makes sure that a packet filter of the host lets the namespaces reach it, and that ours works.
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
func (s *space) dial(address string) error {
	if _, err := fmt.Fprintln(s.stdin, address); err != nil {
		return err
	}
	answer, err := s.answers.ReadString('\n')
	if err != nil {
		return err
	}
	if answer = strings.TrimSpace(answer); answer != reached {
		return errors.New(answer)
	}
	return nil
}

const (
	reached   = "reached"
	dialBound = 2 * time.Second
)

// KeepNamespace is the life of a process that keeps a namespace: it connects to the addresses that it reads, one a line,
// says what came of it, and ends with its standard input.
func KeepNamespace(in io.Reader, out io.Writer) error {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		answer := reached
		if conn, err := net.DialTimeout("tcp", lines.Text(), dialBound); err != nil { //nolint:noctx // bounded
			answer = err.Error()
		} else {
			conn.Close()
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return nil
}

// cut drops a namespace's packets to the server, from it, or both.
func (s *space) cut(ctx context.Context, up, down bool) error {
	if up {
		if _, err := s.run(ctx, "iptables", "-w", "-A", "OUTPUT", "-o", inner, "-j", "DROP"); err != nil {
			return err
		}
	}
	if down {
		if _, err := s.run(ctx, "iptables", "-w", "-A", "INPUT", "-i", inner, "-j", "DROP"); err != nil {
			return err
		}
	}
	return nil
}

func (s *space) heal(ctx context.Context) error {
	_, err := s.run(ctx, "iptables", "-w", "-F")
	return err
}

// delay delays a namespace's packets; none with zero.
func (s *space) delay(ctx context.Context, delay, jitter time.Duration) error {
	if delay == 0 {
		_, err := s.run(ctx, "tc", "qdisc", "del", "dev", inner, "root")
		return err
	}
	us := func(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) + "us" }
	_, err := s.run(ctx, "tc", "qdisc", "replace", "dev", inner, "root", "netem", "delay", us(delay), us(jitter))
	return err
}

// enter makes a command run inside.
func (s *space) enter(cmd *exec.Cmd) {
	path, err := exec.LookPath("nsenter")
	if err != nil {
		cmd.Err = err
		return
	}
	args := []string{"nsenter", "-t", strconv.Itoa(s.keeper.Process.Pid), "-n", "--", cmd.Path}
	cmd.Args = append(args, cmd.Args[1:]...)
	cmd.Path = path
}

func (s *space) run(ctx context.Context, program string, args ...string) (string, error) {
	inside := append([]string{"-t", strconv.Itoa(s.keeper.Process.Pid), "-n", "--", program}, args...)
	return tool(ctx, "nsenter", inside...)
}

// close returns when the interfaces are gone. They would go with the namespaces, but the kernel takes its time for that.
func (n *network) close() {
	for _, s := range n.spaces {
		s.stdin.Close()
	}
	for _, s := range n.spaces {
		_ = s.keeper.Wait()
		_, _ = tool(context.Background(), "ip", "link", "del", s.outer) // it may be gone already
	}
}

func tool(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolBound)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
