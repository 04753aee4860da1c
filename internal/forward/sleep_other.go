//go:build !linux

package forward

import "time"

func exactTimers() {}

func nanosleep(d time.Duration) { <-time.After(d) }
