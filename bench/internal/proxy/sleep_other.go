//go:build !linux

package proxy

import "time"

func exactTimers() {}

func nanosleep(d time.Duration) { <-time.After(d) }
