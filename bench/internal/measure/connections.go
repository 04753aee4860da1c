package measure

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Connections counts the open connections of this process and its children to a server. The address is host:port, or
// the path of a unix socket.
func Connections(address string) (int, error) {
	if strings.HasPrefix(address, "/") {
		text, err := os.ReadFile("/proc/net/unix")
		if err != nil {
			return 0, err
		}
		return countUnix(string(text), address), nil
	}
	wanted, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		return 0, err
	}
	own, err := sockets()
	if err != nil {
		return 0, err
	}
	return countTCP(string(text), wanted, own)
}

// countUnix counts connected sockets with the path: those are the server's ends, since clients' ends have no name.
func countUnix(text, path string) int {
	const connected = "03"
	n := 0
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 8 && f[5] == connected && f[7] == path {
			n++
		}
	}
	return n
}

// countTCP counts established connections to the address among the given sockets. It counts a socket once: the kernel
// lists a connection again where others came or went between two reads of the list.
func countTCP(text string, to netip.AddrPort, own map[string]bool) (int, error) {
	const established = "01"
	found := map[string]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != established || !own[f[9]] {
			continue
		}
		remote, err := parseTCPAddr(f[2])
		if err != nil {
			return 0, err
		}
		if remote == to {
			found[f[9]] = true
		}
	}
	return len(found), nil
}

// parseTCPAddr reads "0100007F:1F90": the address as one number in this machine's byte order, the port in hex.
func parseTCPAddr(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	h, err := strconv.ParseUint(host, 16, 32)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", s, err)
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port of %q: %w", s, err)
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(h))
	return netip.AddrPortFrom(netip.AddrFrom4(b), uint16(p)), nil
}

// sockets are the inodes of the sockets that this process and its descendants have open.
func sockets() (map[string]bool, error) {
	tree, err := descendants(os.Getpid())
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, s := range tree {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.pid))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			target, _ := os.Readlink(file) // an empty name where the file was closed meanwhile
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				found[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	return found, nil
}
