package netfault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrUnsupported says that this machine, or this user, cannot have such a network; the error that wraps it says why.
var ErrUnsupported = errors.New("no network that can be cut can be made here")

// The two ends' addresses. Each network has its own namespaces, so that all of them can have the same.
const (
	ServerAddr = "10.77.0.1"
	ClientAddr = "10.77.0.2"
	mask       = "/30"
)

// ServerPrefix is the server's address with its network, for a server that is to let the client in.
func ServerPrefix() netip.Prefix { return netip.MustParsePrefix(ServerAddr + mask) }

// The names of the cable's ends, each inside its namespace.
const (
	serverEnd = "lkserver"
	clientEnd = "lkclient"
)

const (
	namespaces     = "/run/netns"
	commandTimeout = 10 * time.Second
)

// Direction says which packets vanish.
type Direction string

// The directions.
const (
	Both     Direction = "both ways"
	ToServer Direction = "towards the server"
	ToClient Direction = "towards the client"
)

// Network is two namespaces, the server's and the client's.
type Network struct {
	server, client string // names
}

var number atomic.Int64 // tells the networks of one process apart

// New makes a network on which everything gets through. It must be closed.
func New(ctx context.Context) (*Network, error) {
	if runtime.GOOS != "linux" || setns == 0 {
		return nil, fmt.Errorf("%w: it takes Linux on amd64 or arm64", ErrUnsupported)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it takes root", ErrUnsupported)
	}
	for _, program := range []string{"ip", "iptables", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w: %w (apt-get install iproute2 iptables util-linux)", ErrUnsupported, err)
		}
	}
	removeStale(ctx)
	prefix := fmt.Sprintf("lk-%d-%d-", os.Getpid(), number.Add(1))
	n := &Network{server: prefix + "server", client: prefix + "client"}
	if err := n.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnsupported, err), n.Close())
	}
	return n, nil
}

func (n *Network) build(ctx context.Context) error {
	for _, args := range [][]string{
		{"netns", "add", n.server},
		{"netns", "add", n.client},
		{"-n", n.server, "link", "add", serverEnd, "type", "veth", "peer", "name", clientEnd, "netns", n.client},
		{"-n", n.server, "addr", "add", ServerAddr + mask, "dev", serverEnd},
		{"-n", n.client, "addr", "add", ClientAddr + mask, "dev", clientEnd},
		{"-n", n.server, "link", "set", "lo", "up"},
		{"-n", n.client, "link", "set", "lo", "up"},
		{"-n", n.server, "link", "set", serverEnd, "up"},
		{"-n", n.client, "link", "set", clientEnd, "up"},
	} {
		if err := run(ctx, args...); err != nil {
			return err
		}
	}
	return n.Heal(ctx) // says now whether there is a filter
}

// ServerNS is the path of the server's namespace.
func (n *Network) ServerNS() string { return filepath.Join(namespaces, n.server) }

// ClientNS is the path of the client's namespace.
func (n *Network) ClientNS() string { return filepath.Join(namespaces, n.client) }

// Cut makes packets vanish when they have arrived at an end, as a broken line would: the sender's kernel hears nothing.
func (n *Network) Cut(ctx context.Context, d Direction) error {
	if d != ToClient {
		if err := n.filter(ctx, n.server, "-A", "INPUT", "-i", serverEnd, "-j", "DROP"); err != nil {
			return err
		}
	}
	if d != ToServer {
		return n.filter(ctx, n.client, "-A", "INPUT", "-i", clientEnd, "-j", "DROP")
	}
	return nil
}

// Heal lets everything through again.
func (n *Network) Heal(ctx context.Context) error {
	return errors.Join(n.filter(ctx, n.server, "-F", "INPUT"), n.filter(ctx, n.client, "-F", "INPUT"))
}

func (n *Network) filter(ctx context.Context, namespace string, args ...string) error {
	return run(ctx, append([]string{"netns", "exec", namespace, "iptables", "-w", "5"}, args...)...)
}

// Close removes the network. What still runs inside keeps its namespace, without a cable, until it ends.
func (n *Network) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout) //nolint:forbidigo // cleanup, whatever has ended
	defer cancel()
	var errs []error
	for _, name := range []string{n.client, n.server} {
		if _, err := os.Stat(filepath.Join(namespaces, name)); err == nil {
			errs = append(errs, run(ctx, "netns", "del", name))
		}
	}
	return errors.Join(errs...)
}

// removeStale removes the namespaces of processes that were killed before they could.
func removeStale(ctx context.Context) {
	entries, err := os.ReadDir(namespaces)
	if err != nil {
		return
	}
	for _, e := range entries {
		parts := strings.Split(e.Name(), "-")
		if len(parts) != 4 || parts[0] != "lk" {
			continue
		}
		pid, err := strconv.Atoi(parts[1])
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = run(ctx, "netns", "del", e.Name()) // another process may have been faster
		}
	}
}

// run runs ip, which does it all: iptables too, inside a namespace.
func run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
