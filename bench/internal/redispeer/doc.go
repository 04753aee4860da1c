// Package redispeer has the systems that keep locks in Redis, each used as its own documentation says, on one server.
//
// Redis runs without persistence, which is its best case. An address that begins with a slash is a unix socket.
package redispeer
