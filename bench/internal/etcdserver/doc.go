// Package etcdserver starts an etcd for the harness: this binary again, with a hidden command that runs etcdembed.Serve.
package etcdserver
