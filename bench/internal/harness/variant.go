package harness

import (
	"context"
	"errors"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Variant is a system that another program measures: the same harness, linked with another version of the system's library.
// It takes part in each scenario that its original takes part in.
type Variant struct {
	// Label is the name in reports; Of is the system's name in the other program, and its original's in this one.
	Label, Of string
	// Program is the other program's path.
	Program string
	// Commit says which version it is.
	Commit string
}

// Name returns the label.
func (v Variant) Name() string { return v.Label }

// Open fails: the system is in the other program alone.
func (Variant) Open(context.Context, peer.Env) (peer.Client, error) {
	return nil, errors.New("BUG: a variant is measured by a program of its own")
}
