// Package netfault makes a network that can be cut: two namespaces of this machine's kernel, joined by a cable, with a
// filter at each end.
//
// A cut network cannot be imitated by a proxy: the kernel of the machine on which a proxy runs goes on acknowledging what
// it receives, so that neither end's keepalives nor retransmissions see anything. Here packets vanish on their way.
//
// It takes root on Linux, and the programs ip, iptables and nsenter; elsewhere [New] says so with [ErrUnsupported].
package netfault
