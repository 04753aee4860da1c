// Package etcdembed is a single-member etcd inside this binary, run in a process of its own so that its CPU time is
// apart. Only the main package imports it: it is large.
package etcdembed
