//go:build !race

package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/embed"
)

// Serve runs etcd until in ends or ctx does. The first line that it writes to out is the client address and the version.
//
// It is set up for speed alone: nothing is synced to disk, old revisions are thrown away.
func Serve(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "lketcd")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := embed.StartEtcd(config(dir))
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if _, err := fmt.Fprintln(out, server.Clients[0].Addr(), version.Version); err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	go func() {
		defer end()
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case err := <-server.Err():
		return err
	case <-ctx.Done():
		return nil
	}
}

func config(dir string) *embed.Config {
	free := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c := embed.NewConfig()
	c.Dir = dir
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{free}, []url.URL{free}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{free}, []url.URL{free}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.LogLevel = "panic"
	c.UnsafeNoFsync = true
	c.QuotaBackendBytes = 8 << 30
	c.AutoCompactionMode, c.AutoCompactionRetention = "revision", "10000"
	return c
}
