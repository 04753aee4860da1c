//go:build baseline

package systems

import (
	"context"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// openHints is nil: see hints.go.
var openHints func(ctx context.Context, e harness.Env) (harness.Client, error)
