// Command pgbin prints the folder of the PostgreSQL server binaries that this project's tests and demo would use. The
// set-up scripts call it, so that the places to look at are written down once.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

func main() {
	cache := flag.Bool("cache", false, "print the cache folder instead")
	bouncer := flag.Bool("pgbouncer", false, "print the path of pgbouncer instead")
	pgpool := flag.Bool("pgpool", false, "print the path of pgpool instead")
	flag.Parse()
	find := pgserver.FindBinaries
	switch {
	case *cache:
		find = pgserver.CacheDir
	case *bouncer:
		find = pgserver.FindPgBouncer
	case *pgpool:
		find = pgserver.FindPgpool
	}
	found, err := find()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(found)
}
