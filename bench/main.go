// Bench compares Lockkeeper with what one could use instead. Start with `bench --help`.
package main

import (
	"os"

	"github.com/lockkeeper/lockkeeper/bench/internal/cli"
	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/pgpeer"
	"github.com/lockkeeper/lockkeeper/bench/internal/server"
	"github.com/lockkeeper/lockkeeper/bench/internal/throughput"
)

func main() {
	program := cli.Program{
		Catalogue: harness.Catalogue{
			Kinds:     []server.Kind{server.Postgres(pgpeer.Systems())},
			Scenarios: throughput.Scenarios(),
		},
		Out: os.Stdout, Err: os.Stderr,
	}
	os.Exit(program.Execute(os.Args[1:]))
}
