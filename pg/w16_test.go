package pg

import (
	"context"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// W16. One name has two addresses, and the first of them accepts connections and says nothing.
func TestW16_ANameWithASilentAddress(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	_, port, err := net.SplitHostPort(d.TCPAddr())
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip("this system has no second loopback address: ", err)
	}
	defer silent.Close()
	config := parsed(t, strings.Replace(d.tcpDSN(), "127.0.0.1", "db.test", 1))
	var asked atomic.Int32
	config.LookupFunc = func(context.Context, string) ([]string, error) {
		return []string{"127.0.0.2", "127.0.0.1"}[min(1, asked.Add(1)-1):], nil // both the first time only
	}
	bounded := quick()
	bounded.ConnectTimeout = 12 * time.Second // each address has half of it
	p := openPool(t, fromConfig(t, config), bounded)
	c := newCaller(1)
	c.release(t, c.take(t, p))
}
