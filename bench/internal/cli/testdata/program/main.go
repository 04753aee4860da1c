// Program is the harness without etcd, which takes minutes to compile. Tests build baselines of it.
package main

import (
	"os"

	"github.com/lockkeeper/lockkeeper/bench/internal/cli"
)

func main() {
	os.Exit(cli.Program{Out: os.Stdout, Err: os.Stderr}.Execute(os.Args[1:]))
}
