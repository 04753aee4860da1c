package pg

import (
	"context"
	"net"
	"strings"
	"testing"
)

// With sslmode=prefer, the default, a server without TLS that then hangs up is one that hangs up: another attempt may help.
func TestAServerWithoutTLSThatHangsUp(t *testing.T) {
	noLeaks(t)
	for mode, want := range map[string]struct {
		text      string
		transient bool
	}{"prefer": {"the server closed the connection", true}, "require": {"the server refused TLS", false}} {
		address := listen(t, func(c net.Conn) {
			defer c.Close()
			b := make([]byte, 4096)
			if n, err := c.Read(b); err == nil && firstMessageOf(b[:n]) == tlsRequest {
				_, _ = c.Write([]byte{'N'})
				_, _ = c.Read(b)
			}
		})
		_, err := Open(within(t), sourceOf(t, "postgres://u:"+secret+"@"+address+"/db?sslmode="+mode), quick())
		if err == nil || !strings.Contains(err.Error(), want.text) || Transient(err) != want.transient {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// W16. A LookupFunc that gives no address.
func TestW16_ANameWithoutAnAddress(t *testing.T) {
	d := newDatabase(t)
	config := parsed(t, strings.Replace(d.tcpDSN(), "127.0.0.1", "db.test", 1))
	config.LookupFunc = func(context.Context, string) ([]string, error) { return nil, nil }
	_, err := Open(within(t), fromConfig(t, config), quick())
	if err == nil || err.Error() != "cannot open a session: the host's name could not be resolved" {
		t.Error(err)
	}
}
