//go:build !linux || !(amd64 || arm64)

package netfault

// setns is not known here.
const setns = 0
