//go:build race

// Package etcd is empty under the race detector: etcd takes minutes to compile with it, and is not under test.
package etcd

import (
	"context"
	"errors"
	"io"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

var errRace = errors.New("etcd is not built with the race detector")

// Serve fails.
func Serve(context.Context, io.Reader, io.Writer) error { return errRace }

// Open fails.
func Open(context.Context, harness.Env) (harness.Client, error) { return harness.Client{}, errRace }
