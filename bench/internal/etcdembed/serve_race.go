//go:build race

package etcdembed

import (
	"context"
	"errors"
	"io"
)

// Serve is not there under the race detector: etcd takes minutes to compile with it, and is not under test.
func Serve(context.Context, io.Reader, io.Writer) error {
	return errors.New("etcd is not built with the race detector")
}
