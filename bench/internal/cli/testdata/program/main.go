// Program is the harness without etcd, which takes minutes to compile. Tests build baselines of it.
package main

import (
	"os"
	"slices"

	"github.com/lockkeeper/lockkeeper/bench/internal/cli"
	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/pgpeer"
	"github.com/lockkeeper/lockkeeper/bench/internal/server"
	"github.com/lockkeeper/lockkeeper/bench/internal/special"
	"github.com/lockkeeper/lockkeeper/bench/internal/throughput"
)

func main() {
	program := cli.Program{Out: os.Stdout, Err: os.Stderr, Catalogue: harness.Catalogue{
		Kinds:     []server.Kind{server.Postgres(pgpeer.Systems())},
		Scenarios: slices.Concat(throughput.Scenarios(), special.Scenarios()),
	}}
	os.Exit(program.Execute(os.Args[1:]))
}
