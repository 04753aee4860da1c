//go:build baseline

package systems

import "github.com/lockkeeper/lockkeeper/bench/internal/harness"

// poolers has none: see pgbouncer.go.
func poolers() []harness.System { return nil }
