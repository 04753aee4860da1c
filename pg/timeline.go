package pg

import (
	"fmt"
	"slices"
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

// failedOverError is returned where a server answers that another has replaced: an old primary whose standby has been promoted, or a cluster
// that this manager has left for another. The other grants locks since.
type failedOverError struct{ answered, latest timeline }

func (e *failedOverError) Error() string {
	if e.answered.system != e.latest.system {
		return fmt.Sprintf("two clusters answer under one name: this is cluster %s again, and this program went on to cluster %s when that one "+
			"answered; let the name lead to one of them (after going back on purpose: restart this program)", e.answered.system, e.latest.system)
	}
	return fmt.Sprintf("an old primary answered: it is on timeline %d of its cluster, which went on to timeline %d when a "+
		"standby was promoted; stop it, or make it a standby (after going back to an old backup on purpose: restart this "+
		"program)", e.answered.number, e.latest.number)
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

// replacedBy reports whether the server of latest has taken the place of t's: it writes a later part of the same history, or is of another
// cluster. All sessions of a manager are of one cluster: locks of two exclude nobody. Two of one number are one server, as far as is known.
func (t timeline) replacedBy(latest timeline) bool {
	return t.system != "" && latest.system != "" && (t.system != latest.system || t.number < latest.number)
}

// history is what the connections of a manager have met. It does not change.
type history struct {
	latest timeline
	left   []string // clusters that another has replaced
}

// refuses reports whether a server has been replaced before it answered. A cluster that is met for the first time replaces the one before: so
// a name may be moved to another cluster. It replaces each other one once, so that two behind one name do not end each other's sessions in turns.
func (h *history) refuses(t timeline) bool {
	return t.system == h.latest.system && t.replacedBy(h.latest) || slices.Contains(h.left, t.system)
}

// next is the history after a server has answered that is not refused.
func (h *history) next(t timeline) *history {
	next := &history{latest: t, left: h.left}
	if h.latest.system != "" && h.latest.system != t.system {
		next.left = append(slices.Clip(h.left), h.latest.system)
	}
	return next
}

// latest is the timeline that no server has replaced, as far as is known.
func (c *connector) latest() timeline {
	if seen := c.seen.Load(); seen != nil {
		return seen.latest
	}
	return timeline{}
}

// replaced reports whether another server has taken the place of the one that wrote t.
func (c *connector) replaced(t timeline) bool { return t.replacedBy(c.latest()) }

// checkTimeline refuses a server that another has replaced. Where the DSN has other hosts the next one is tried. One that replaces another
// itself is told to the pool before anything is granted on it.
func (c *connector) checkTimeline(t timeline) error {
	if t.system == "" {
		return nil
	}
	for {
		seen := c.seen.Load()
		before := seen
		if before == nil {
			before = &history{}
		}
		switch {
		case before.latest == t:
			return nil
		case before.refuses(t):
			return &failedOverError{t, before.latest}
		case c.seen.CompareAndSwap(seen, before.next(t)): //arch:publishes the latest timeline that any of the openers has seen
			if seen != nil && c.moved != nil {
				c.moved()
			}
			return nil
		}
	}
}
