package pg

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
)

// W11. Another server's port: that is what the error says, at once.
func TestW11_AnotherServersPort(t *testing.T) {
	noLeaks(t)
	for name, server := range map[string]struct {
		first bool // it speaks before it is spoken to
		text  string
	}{
		"HTTP":  {text: "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"},
		"SSH":   {first: true, text: "SSH-2.0-OpenSSH_9.2p1\r\n"},
		"SMTP":  {first: true, text: "220 mail.example ESMTP\r\n"},
		"MySQL": {first: true, text: "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00"},
		"Redis": {text: "-ERR Protocol error: invalid bulk length\r\n"},
		"TLS":   {text: "\x15\x03\x01\x00\x02\x02\x46"},
		"VNC":   {first: true, text: "RFB 003.008\n"}, // begins as a request to authenticate does
	} {
		for _, mode := range []string{"disable", "prefer", "require"} {
			open := make(chan struct{})
			address := listen(t, func(c net.Conn) {
				go func() {
					defer c.Close()
					if !server.first {
						_, _ = c.Read(make([]byte, 1))
					}
					_, _ = io.WriteString(c, server.text)
					<-open // as one does that waits for the rest of a request
				}()
			})
			_, err := Open(within(t), sourceOf(t, "postgres://u:"+secret+"@"+address+"/db?sslmode="+mode), quick())
			close(open)
			if err == nil || !strings.Contains(err.Error(), "does not speak PostgreSQL") || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, sslmode %s: %v", name, mode, err)
			}
			keepsTheSecret(t, err)
		}
	}
}
