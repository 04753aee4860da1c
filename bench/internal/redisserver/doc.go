// Package redisserver runs a throwaway Redis for the harness: on a free loopback port and on a unix socket, without
// persistence, in a temporary folder that goes with it.
package redisserver
