package live

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where the page is served.
type Address struct {
	IP   netip.Addr
	Port uint16 // 0: a free one
}

// ParseAddress reads what a user may write: an IP address (or localhost) and a port, a port alone, or auto. Without an address only this
// machine is served.
func ParseAddress(text string) (Address, error) {
	a := Address{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	if text == "auto" {
		return a, nil
	}
	wrong := func(why string) (Address, error) {
		return a, fmt.Errorf("%q: %s; it must be a port such as 8080, an IP address and a port such as 127.0.0.1:8080, or auto", text, why)
	}
	host, port := "", text
	if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return wrong("it is no address")
		}
	}
	if host != "" && host != "localhost" {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return wrong("its host is no IP address")
		}
		a.IP = ip.Unmap()
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return wrong("its port is no number from 0 to 65535")
	}
	a.Port = uint16(n)
	return a, nil
}

// Local reports whether only this machine is served.
func (a Address) Local() bool { return a.IP.IsLoopback() }

func (a Address) String() string { return netip.AddrPortFrom(a.IP, a.Port).String() }

// url is what to open in a browser. A server on all addresses is reached by the loopback address too.
func (a Address) url() string {
	if a.IP.IsUnspecified() {
		a.IP = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return "http://" + a.String() + "/"
}

// admits reports whether a request's Host may be served. A page of another site whose name was made to lead here (DNS rebinding) has that
// name in Host. An address cannot be made to lead elsewhere. Behind a forwarded port the port is another one.
func (a Address) admits(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && (ip.Unmap().IsLoopback() || !a.Local())
}
