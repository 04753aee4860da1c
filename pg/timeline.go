package pg

import (
	"fmt"
	"strconv"
	"strings"
)

// timeline is whose history a server writes: the cluster, and the number of its timeline, which every promotion raises. The
// zero value is not known: some services do not tell.
type timeline struct {
	system string
	number uint32
}

// A timeline does not change while a server runs, so each session asks once. pg_walfile_name gives it right after a
// promotion, when pg_control_checkpoint does not yet.
const timelineSQL = `SELECT pg_catalog.concat((SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c), ' ',
 pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))`

// failedOverError is returned where an old primary answers: a standby of it has been promoted, and grants locks since.
type failedOverError struct{ number, latest uint32 }

func (e *failedOverError) Error() string {
	return fmt.Sprintf("an old primary answered: it is on timeline %d of its cluster, which went on to timeline %d when a "+
		"standby was promoted; stop it, or make it a standby (after going back to an old backup on purpose: restart this "+
		"program)", e.number, e.latest)
}

// parseTimeline reads the answer to timelineSQL. A standby, a service that hides it, a missing right: it is not known then.
func parseTimeline(c *command) timeline {
	text, err := c.text()
	words := strings.Fields(text)
	if err != nil || len(words) != 2 {
		return timeline{}
	}
	number, err := strconv.ParseUint(words[1], 16, 32)
	if err != nil {
		return timeline{}
	}
	return timeline{system: words[0], number: uint32(number)}
}

// before reports whether t is an older part of the same history than other.
func (t timeline) before(other timeline) bool {
	return t.system != "" && t.system == other.system && t.number < other.number
}

// checkTimeline refuses a server whose cluster was seen on a later timeline. Where the DSN has other hosts the next one is
// tried.
func (c *connector) checkTimeline(t timeline) error {
	if t.system == "" {
		return nil
	}
	for {
		seen := c.timeline.Load()
		if seen != nil && t.before(*seen) {
			return &failedOverError{t.number, seen.number}
		}
		if seen != nil && *seen == t || c.timeline.CompareAndSwap(seen, &t) { //arch:publishes the latest timeline that any of the openers has seen
			return nil
		}
	}
}
