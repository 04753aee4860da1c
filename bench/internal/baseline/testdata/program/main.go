// Program is quickly built: of the library it imports the smallest package, and one of the helpers. Tests build baselines of it.
package main

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

func main() {
	_ = interrupt.Context
	fmt.Println("an id is", hashing.FNV1a("a key"))
}
