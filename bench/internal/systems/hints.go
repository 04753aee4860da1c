//go:build !baseline

package systems

import (
	"context"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/manager"
)

// openHints opens a manager whose waiters are told by other managers when to try. Commits before the option have none: the tag keeps
// this file out of a baseline's program, which measures nothing with it.
var openHints = func(ctx context.Context, e harness.Env) (harness.Client, error) {
	return openManager(ctx, e, manager.WithNotify())
}
