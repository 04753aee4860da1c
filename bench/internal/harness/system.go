package harness

import (
	"context"
	"slices"
)

// System is one way to have locks.
type System struct {
	Name   string // as reports show it
	Server *Server
	// Open connects the client of one process. Each measurement opens and closes its own. It is nil for limits.
	Open func(ctx context.Context, e Env) (Client, error)
	// Limit, where set, makes the load itself. Such a system is no lock system: it shows what can be had at most.
	Limit func(ctx context.Context, s Setup, l Load) (Result, error)
	// OpenOne and Loss are set where a lock tells its holder that the server has ended its session. OpenOne connects a client
	// that keeps all locks on one session, which has the application's name. Loss returns a channel that is closed when the lock
	// is lost. Then err returns nil if the holder was told of a lost session, and what it was told otherwise.
	OpenOne func(ctx context.Context, e Env, application string) (Client, error)
	Loss    func(h Held) (lost <-chan struct{}, err func() error)

	// Scenarios, where set, are the only ones that the system takes part in.
	Scenarios []string

	// A variant is the system Of, measured by another program: this harness, linked with another version of the system's
	// library. It takes part in the scenarios of its original. Commit says which version it is.
	Of, Program, Commit string
}

// original is the name of the system that this one is a variant of, else its own.
func (s System) original() string {
	if s.Of != "" {
		return s.Of
	}
	return s.Name
}

// Env is what a system finds. The addresses may lead through the forwarder that adds latency.
type Env struct {
	PostgresDSN string
	RedisAddr   string
	EtcdAddr    string
	// Goroutines will lock at the same time: a system may size its pools by them.
	Goroutines int
}

// Client takes locks. Many goroutines use it at once.
type Client struct {
	// Lock waits until the key's lock is held.
	Lock func(ctx context.Context, key string) (Held, error)
	// Prepare, where set, does a part of the work for a key once. Many goroutines may use what it returns.
	Prepare func(key string) Locker
	// Close leaves nothing behind.
	Close func() error
}

// Locker takes the lock of one key.
type Locker func(ctx context.Context) (Held, error)

// Locker returns what takes the key's lock, prepared where the client can do so.
func (c Client) Locker(key string) Locker {
	if c.Prepare != nil {
		return c.Prepare(key)
	}
	return func(ctx context.Context) (Held, error) { return c.Lock(ctx, key) }
}

// Held is a lock that is held.
type Held interface {
	Release(ctx context.Context) error
}

// Release is a Held of which only this is known.
type Release func(ctx context.Context) error

// Release implements [Held].
func (r Release) Release(ctx context.Context) error { return r(ctx) }

// Server is a kind of server that systems run on.
type Server struct {
	Name  string
	Start func(ctx context.Context) (*Instance, error)
}

// Instance is a running server. It is started once a run, and systems use it in turn.
type Instance struct {
	Version string // for people: "PostgreSQL 15.18"
	PID     int    // of the server's first process
	// Address is where systems connect without latency: the path of a unix socket, or host:port. TCP is host:port, for a
	// forwarder to lead to.
	Address, TCP string
	// Env is what systems find. through is the address of a forwarder, or empty.
	Env func(through string) Env
	// AdminDSN reaches PostgreSQL directly. It is empty for other servers.
	AdminDSN string
	// Tidy, where set, removes what killed clients have left.
	Tidy func(ctx context.Context) error
	// Switch, where set, measures the cost of a switch between processes.
	Switch func(ctx context.Context) (SwitchCost, error)
	Close  func() error
}

// SwitchClients is the number of clients in SwitchCost.Many: the connections of the systems that hold one for each lock.
const SwitchClients = 50

// SwitchCost tells how costly a switch between processes is: the rates of the smallest statement with one client and with
// many, in transactions per second. With one client, client and server wait for each other. With many, the processors go to
// another of the server's processes after each statement.
type SwitchCost struct {
	When string  `json:"when"` // "start" or "end" of the run
	One  float64 `json:"tps_1"`
	Many float64 `json:"tps_50"`
}

// Ratio returns the rate of many clients to that of one. It falls when switches are costly.
func (s SwitchCost) Ratio() float64 { return Ratio(s.Many, s.One) }

// Catalogue is all that can be measured, in the order of reports.
type Catalogue struct {
	Systems   []System
	Scenarios []Scenario
	// Program is the path of the program that measures all systems but variants. Empty means this process's own.
	Program string
}

// WithVariant returns the catalogue with a variant behind its original. own becomes its Program.
func (c Catalogue) WithVariant(v System, own string) Catalogue {
	at := slices.IndexFunc(c.Systems, func(s System) bool { return s.Name == v.Of })
	v.Server = c.Systems[at].Server
	c.Systems = slices.Insert(slices.Clone(c.Systems), at+1, v)
	c.Program = own
	return c
}

// Baseline returns the variant, or an empty system where there is none.
func (c Catalogue) Baseline() System {
	if i := slices.IndexFunc(c.Systems, func(s System) bool { return s.Of != "" }); i >= 0 {
		return c.Systems[i]
	}
	return System{}
}

// SystemNames are in the order of reports.
func (c Catalogue) SystemNames() []string {
	var names []string
	for _, s := range c.Systems {
		names = append(names, s.Name)
	}
	return names
}

// ScenarioNames are in the order of reports.
func (c Catalogue) ScenarioNames() []string {
	var names []string
	for _, s := range c.Scenarios {
		names = append(names, s.Name)
	}
	return names
}

func (c Catalogue) system(name string) (s System, known bool) {
	i := slices.IndexFunc(c.Systems, func(s System) bool { return s.Name == name })
	if i < 0 {
		return s, false
	}
	return c.Systems[i], true
}

func (c Catalogue) scenario(name string) (s Scenario, known bool) {
	i := slices.IndexFunc(c.Scenarios, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return s, false
	}
	return c.Scenarios[i], true
}
