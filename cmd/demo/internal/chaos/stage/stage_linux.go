package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/player"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// Table is the oracle's table, Namespace is put before every key, App begins the application_name of what holds locks.
const (
	Table     = "public.lockkeeper_chaos"
	Namespace = "lockkeeper chaos"
	App       = "lockkeeper-chaos"
)

// startBound is generous: the machine may be busy.
const startBound = 2 * time.Minute

// Stage is what a run takes place on. Its methods are called by one goroutine, but for Primary and Workers.
type Stage struct {
	plan     *plan.Plan
	command  Commands
	take     func([]event.Record)
	first    *pgserver.Server // the servers in the order in which clients try them
	second   *pgserver.Server
	network  *network // nil: no namespaces
	gateways map[int]*gateway
	// Without says what cannot be had here, and why.
	Without string

	mu      sync.Mutex
	primary *pgserver.Server
	standby *pgserver.Server // nil while it is being made
	workers []*Worker        // by process, from 0
}

// New sets the stage: servers, namespaces and forwarders, no workers yet. take gets the workers' records.
func New(ctx context.Context, p *plan.Plan, command Commands, take func([]event.Record)) (_ *Stage, err error) {
	s := &Stage{plan: p, command: command, take: take, gateways: map[int]*gateway{}, workers: make([]*Worker, p.Processes)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	if s.network, err = newNetwork(ctx, p.Processes, command); err != nil {
		s.Without = err.Error()
		s.network = nil
	}
	if err := s.startServers(ctx); err != nil {
		return nil, err
	}
	for i := range p.Forwarded() {
		process := p.Processes - i
		g, err := startGateway(command(PartForwarder), forwarderJob{
			Listen: []string{net.JoinHostPort(s.host(), "0"), net.JoinHostPort(s.host(), "0")},
			To:     []string{s.first.TCPAddr(), s.second.TCPAddr()},
		})
		if err != nil {
			return nil, err
		}
		s.gateways[process] = g
	}
	return s, nil
}

// host is the address by which workers reach this machine.
func (s *Stage) host() string {
	if s.network == nil {
		return "127.0.0.1"
	}
	return s.network.prefix.Addr().String()
}

// connectionsEach is room for a process's sessions, for those of its killed predecessor, and for its oracle.
const connectionsEach = 100

func (s *Stage) startServers(ctx context.Context) error {
	var listen netip.Prefix
	if s.network != nil {
		listen = s.network.prefix
	}
	primary, err := pgserver.Start(ctx, pgserver.Options{Listen: listen, Settings: map[string]string{
		"max_connections":             strconv.Itoa(60 + connectionsEach*s.plan.Processes),
		"wal_retrieve_retry_interval": "100ms", // a standby is back soon after its primary
		"max_wal_size":                "512MB",
		"max_locks_per_transaction":   "16", // a lock table that is soon full
	}})
	if err != nil {
		return fmt.Errorf("starting a throwaway PostgreSQL: %w", err)
	}
	s.first, s.primary = primary, primary
	if _, err := primary.Exec(ctx, player.CreateTable(Table, s.plan.Keys)); err != nil {
		return err
	}
	standby, err := primary.Standby(ctx)
	if err != nil {
		return err
	}
	s.second, s.standby = standby, standby
	return nil
}

// Version is the servers'.
func (s *Stage) Version() string { return s.first.Version() }

// Primary is the server that accepts writes, and the standby, nil where there is none.
func (s *Stage) Primary() (primary, standby *pgserver.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.primary, s.standby
}

// SetPrimary is called after a failover.
func (s *Stage) SetPrimary(primary, standby *pgserver.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.primary, s.standby = primary, standby
}

// dsn is how a process reaches the servers: both, in one string.
func (s *Stage) dsn(process int) string {
	addresses := []string{
		net.JoinHostPort(s.host(), strconv.Itoa(s.first.Port())), net.JoinHostPort(s.host(), strconv.Itoa(s.second.Port())),
	}
	if g := s.gateways[process]; g != nil {
		addresses = g.addresses
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(pgserver.Superuser, s.first.Password()), Host: strings.Join(addresses, ","),
		Path: "/" + pgserver.Database, RawQuery: "sslmode=disable&target_session_attrs=read-write",
	}
	return u.String()
}

// AppOf is the application_name of a process's lock sessions.
func AppOf(process int) string { return fmt.Sprintf("%s p%d", App, process) }

// Launch starts an incarnation of a worker process, and waits until it is ready.
func (s *Stage) Launch(process, generation int) (*Worker, error) {
	cmd := s.command(PartWorker)
	if s.network != nil {
		s.network.spaces[process-1].enter(cmd)
	}
	w, err := start(cmd, &player.Job{
		Process: process, Generation: generation, DSN: s.dsn(process), App: AppOf(process),
		OracleApp: fmt.Sprintf("lockkeeper-oracle p%d", process), Namespace: Namespace, Table: Table,
		Workers: s.plan.Workers, Keys: s.plan.Keys, Hold: s.plan.Hold, Interval: s.plan.Interval, Timeout: s.plan.Timeout,
		Lie: s.plan.Lie,
	}, s.take)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.workers[process-1] = w
	s.mu.Unlock()
	return w, nil
}

// Worker is the incarnation of a process that was launched last.
func (s *Stage) Worker(process int) *Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers[process-1]
}

// Cut drops a process's packets to the server, from it, or both, until Heal.
func (s *Stage) Cut(ctx context.Context, process int, up, down bool) error {
	return s.network.spaces[process-1].cut(ctx, up, down)
}

// Heal ends Cut.
func (s *Stage) Heal(ctx context.Context, process int) error {
	return s.network.spaces[process-1].heal(ctx)
}

// Delay delays what passes between a process and the server: in the kernel where tc can, else in its forwarder.
func (s *Stage) Delay(ctx context.Context, process int, delay, jitter time.Duration) (how string, _ error) {
	if s.network != nil && s.network.netem {
		return "tc netem", s.network.spaces[process-1].delay(ctx, delay, jitter)
	}
	g := s.gateways[process]
	if g == nil {
		return "", errors.New("the process has no forwarder")
	}
	return "forwarder", g.pace(delay, jitter)
}

// Close removes everything.
func (s *Stage) Close() error {
	var all sync.WaitGroup
	for _, w := range s.workers {
		if w != nil {
			all.Go(w.End)
		}
	}
	all.Wait()
	for _, g := range s.gateways {
		g.end()
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

// exitBound is how long a process may take to end by itself.
const exitBound = 3 * time.Second
