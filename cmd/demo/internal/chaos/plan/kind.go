package plan

import "slices"

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	Terminate        Kind = "terminate"
	KillBackend      Kind = "kill-backend"
	FastRestart      Kind = "fast-restart"
	ImmediateRestart Kind = "immediate-restart"
	Promote          Kind = "promote"
	FreezeServer     Kind = "freeze-server"
	FreezeWorker     Kind = "freeze-worker"
	KillWorker       Kind = "kill-worker"
	Partition        Kind = "partition"
	PartitionUp      Kind = "partition-to-server"
	PartitionDown    Kind = "partition-from-server"
	FreezeForwarder  Kind = "freeze-forwarder"
	Latency          Kind = "latency"
	CancelStorm      Kind = "cancel-storm"
	FullLockTable    Kind = "full-lock-table"
	Outsider         Kind = "outsider"
	KeeperPanic      Kind = "keeper-panic"
)

// Class says what a fault may do to the holders that it hits. It is a word of the report page's style sheet.
type Class string

// The classes.
const (
	Harmless    Class = "harmless" // no lock is lost
	ServerEnds  Class = "server"   // the server ends sessions, and may grant their locks before the old holders are told
	Silence     Class = "silence"  // the client stops hearing the server, and must give up before the server does: no overlap
	Death       Class = "death"    // the holder itself dies
	KeeperFails Class = "keeper"   // the holder is told before the lock is granted to another
)

// About describes a kind.
type About struct {
	Kind    Kind
	Class   Class
	Text    string
	Root    bool // needs network namespaces
	Several bool // needs at least two worker processes
}

// Kinds lists all kinds, in the order of the help text.
var Kinds = []About{
	{Kind: Terminate, Class: ServerEnds, Text: "end a session that holds locks: by pg_terminate_backend, or by Manager.Locks and Terminate"},
	{Kind: KillBackend, Class: ServerEnds, Text: "kill -9 a backend: the server crashes every session and recovers"},
	{Kind: FastRestart, Class: ServerEnds, Text: "restart the server, fast mode"},
	{Kind: ImmediateRestart, Class: ServerEnds, Text: "restart the server, immediate mode: a crash and its recovery"},
	{Kind: Promote, Class: ServerEnds, Text: "stop the primary, promote the standby, make the old primary its standby"},
	{Kind: FreezeServer, Class: Silence, Text: "SIGSTOP the whole server for a while"},
	{Kind: FreezeWorker, Class: Silence, Text: "SIGSTOP a worker process until the server has ended its sessions, and wake it"},
	{Kind: KillWorker, Class: Death, Text: "kill -9 a worker process; another takes its place", Several: true},
	{Kind: Partition, Class: Silence, Text: "drop all packets between a worker and the server", Root: true},
	{Kind: PartitionUp, Class: Silence, Text: "drop a worker's packets to the server; the server's arrive", Root: true},
	{Kind: PartitionDown, Class: Silence, Text: "drop the server's packets to a worker; the worker's arrive", Root: true},
	{Kind: FreezeForwarder, Class: Silence, Text: "SIGSTOP a TCP forwarder on the way: its kernel still acknowledges", Several: true},
	{Kind: Latency, Class: Harmless, Text: "latency and jitter on the way to the server", Several: true},
	{Kind: CancelStorm, Class: Harmless, Text: "cancel all waits of a worker process at once, some times over"},
	{Kind: FullLockTable, Class: Harmless, Text: "an outsider fills the server's lock table, and frees it again"},
	{Kind: Outsider, Class: Harmless, Text: "an outsider takes and drops the same locks with plain SQL"},
	{Kind: KeeperPanic, Class: KeeperFails, Text: "panic in keepers of a worker process"},
}

// About describes the kind.
func (k Kind) About() About {
	i := slices.IndexFunc(Kinds, func(a About) bool { return a.Kind == k })
	if i < 0 {
		panic("BUG: unknown fault " + string(k))
	}
	return Kinds[i]
}

// Class is the kind's class.
func (k Kind) Class() Class { return k.About().Class }
