// Bench compares Lockkeeper with what one could use instead. Start with `bench --help`.
package main

import (
	"os"
	"slices"

	"github.com/lockkeeper/lockkeeper/bench/internal/cli"
	"github.com/lockkeeper/lockkeeper/bench/internal/etcdembed"
	"github.com/lockkeeper/lockkeeper/bench/internal/etcdpeer"
	"github.com/lockkeeper/lockkeeper/bench/internal/etcdserver"
	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/pgpeer"
	"github.com/lockkeeper/lockkeeper/bench/internal/redispeer"
	"github.com/lockkeeper/lockkeeper/bench/internal/server"
	"github.com/lockkeeper/lockkeeper/bench/internal/special"
	"github.com/lockkeeper/lockkeeper/bench/internal/throughput"
)

func main() {
	program := cli.Program{
		Catalogue: harness.Catalogue{
			Kinds:     []server.Kind{server.Postgres(pgpeer.Systems()), server.Redis(redispeer.Systems()), server.Etcd(etcdpeer.Systems())},
			Scenarios: slices.Concat(throughput.Scenarios(), special.Scenarios()),
		},
		Package: "github.com/lockkeeper/lockkeeper/bench",
		Servers: map[string]cli.Serve{etcdserver.Command: etcdembed.Serve},
		Out:     os.Stdout, Err: os.Stderr,
	}
	os.Exit(program.Execute(os.Args[1:]))
}
