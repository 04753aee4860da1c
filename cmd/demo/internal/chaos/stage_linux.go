package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/child"
	"github.com/lockkeeper/lockkeeper/internal/forward"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

const (
	// stageBound is generous: the machine may be busy.
	stageBound = 2 * time.Minute
	// connectionsEach is room for a process's sessions, for those of its killed predecessor, and for its oracle.
	connectionsEach = 100
)

// Commands makes the command that starts this program again to play a part.
type Commands func(part string) *exec.Cmd

// stage is what a run takes place on: two servers, a network namespace for each worker process where that is possible, and
// forwarders in front of some.
//
// Nothing of it outlives the run, not even after a kill -9. The children end with their standard input. A namespace, its
// packet filter and its interface go with the last process in it. The servers have a watchdog each. The kernel wakes stopped
// processes when their parent dies.
type stage struct {
	plan     *plan.Plan
	command  Commands
	first    *pgserver.Server // the servers in the order in which clients try them
	second   *pgserver.Server
	network  *network // nil: no namespaces
	without  string   // why there are none
	gateways map[int]*gateway
	poolers  []*pooler // in the order of the servers; none where there is no pooler

	mu      sync.Mutex
	primary *pgserver.Server
	standby *pgserver.Server // nil while it is being made
}

// gateway is a forwarder process.
type gateway struct {
	*child.Process
	addresses []string // of both servers, and of the poolers, through it
}

// part returns the command of a part. It has a process group of its own, so that a Ctrl-C in the terminal does not reach it.
func (s *stage) part(name string) *exec.Cmd {
	cmd := s.command(name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// setStage starts servers, namespaces and forwarders. close removes what there is after an error too.
func (s *stage) setStage(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, stageBound)
	defer cancel()
	if s.network, err = newNetwork(ctx, s.plan.Processes, s.part); err != nil {
		s.without = err.Error()
	}
	if err := s.startServers(ctx); err != nil {
		return err
	}
	if err := s.startPoolers(ctx); err != nil {
		return err
	}
	s.gateways = map[int]*gateway{}
	for i := range s.plan.Forwarded() {
		p, err := child.Start("a forwarder", s.part(PartForwarder))
		if err != nil {
			return err
		}
		g := &gateway{Process: p}
		s.gateways[s.plan.Processes-i] = g
		listen := net.JoinHostPort(s.host(), "0")
		if err := call(p, "Listen", append([]string{listen}, s.targets("127.0.0.1")...), &g.addresses, readyBound); err != nil {
			return err
		}
	}
	return nil
}

// setPace delays what passes the forwarder.
func (g *gateway) setPace(pace forward.Pace) error {
	return call(g.Process, "SetPace", pace, nil, readyBound)
}

func (s *stage) startServers(ctx context.Context) (err error) {
	options := pgserver.Options{Settings: map[string]string{
		"max_connections":             strconv.Itoa(60 + connectionsEach*s.plan.Processes),
		"wal_retrieve_retry_interval": "100ms", // a standby is back soon after its primary
		"max_wal_size":                "512MB",
		"max_locks_per_transaction":   "16", // a lock table that is soon full
	}}
	if s.network != nil {
		options.Listen = s.network.prefix
	}
	if s.first, err = pgserver.Start(ctx, options); err != nil {
		return fmt.Errorf("starting a throwaway PostgreSQL: %w", err)
	}
	if _, err := s.first.Exec(ctx, createTable(s.plan.Keys)); err != nil {
		return err
	}
	s.second, err = s.first.Standby(ctx)
	s.setServers(s.first, s.second)
	return err
}

// host is the address at which workers reach this machine.
func (s *stage) host() string {
	if s.network == nil {
		return "127.0.0.1"
	}
	return s.network.prefix.Addr().String()
}

// servers returns the server that accepts writes, and the standby, nil while there is none.
func (s *stage) servers() (primary, standby *pgserver.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.primary, s.standby
}

func (s *stage) setServers(primary, standby *pgserver.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.primary, s.standby = primary, standby
}

// ask runs SQL on the primary.
func (s *stage) ask(ctx context.Context, sql string) ([][]string, error) {
	primary, _ := s.servers()
	return primary.Exec(ctx, sql)
}

// dsn returns one string by which a process reaches both servers, and one by which its managers do, through a pooler where there is one.
func (s *stage) dsn(process int) (servers, locks string) {
	addresses := s.targets(s.host())
	if g := s.gateways[process]; g != nil {
		addresses = g.addresses
	}
	return s.dsnOf(addresses[:2]), s.dsnOf(addresses[len(addresses)-2:])
}

func (s *stage) dsnOf(addresses []string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(pgserver.Superuser, s.first.Password()), Host: strings.Join(addresses, ","),
		Path: "/" + pgserver.Database, RawQuery: "sslmode=disable&target_session_attrs=read-write",
	}
	return u.String()
}

// appOf returns the application_name of a process's lock sessions.
func appOf(process int) string { return fmt.Sprintf("lockkeeper-chaos p%d", process) }

func (s *stage) close() error {
	for _, g := range s.gateways {
		g.End(0)
	}
	for _, p := range s.poolers {
		p.close()
	}
	var errs []error
	for _, server := range []*pgserver.Server{s.second, s.first} {
		if server != nil {
			errs = append(errs, server.Close())
		}
	}
	if s.network != nil {
		s.network.close()
	}
	return errors.Join(errs...)
}

// forwarder is a forwarder process. It is a process of its own because the kernel of a frozen process still acknowledges,
// so that neither side sees a dead connection.
type forwarder struct{ all []*forward.Forwarder }

// Listen starts a forwarder to each target and returns their addresses.
func (f *forwarder) Listen(servers []string, addresses *[]string) error {
	for _, server := range servers[1:] {
		one, err := forward.Start(context.Background(), servers[0], "tcp", server)
		if err != nil {
			return err
		}
		f.all, *addresses = append(f.all, one), append(*addresses, one.Addr())
	}
	return nil
}

// SetPace delays everything that passes from now on, in each direction.
func (f *forwarder) SetPace(pace forward.Pace, _ *struct{}) error {
	for _, one := range f.all {
		one.SetPace(pace)
	}
	return nil
}
