// Bench compares Lockkeeper with what one could use instead. Start with `bench --help`.
package main

import (
	"os"

	"github.com/lockkeeper/lockkeeper/bench/internal/cli"
	"github.com/lockkeeper/lockkeeper/bench/internal/etcd"
)

func main() {
	program := cli.Program{Package: "github.com/lockkeeper/lockkeeper/bench", OpenEtcd: etcd.Open, ServeEtcd: etcd.Serve,
		Out: os.Stdout, Err: os.Stderr}
	os.Exit(program.Execute(os.Args[1:]))
}
