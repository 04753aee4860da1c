//go:build !unix

package proof

import (
	"context"

	"github.com/lockkeeper/lockkeeper/manager"
)

// CreateFiles refuses.
func CreateFiles(string, int) error { return ErrUnsupported }

// Count counts nothing.
func Count(string, int) (uint64, error) { return 0, ErrUnsupported }

// Work does nothing.
func Work(context.Context, Plan, *manager.Manager) Tally { return Tally{} }
