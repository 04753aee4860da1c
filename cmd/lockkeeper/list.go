package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const listHelp = `Lists the advisory locks of the database: who holds each, and who waits for it in the server's
queue.

The server knows numbers only. With KEYs the locks of these are listed alone, with their names,
those of their slots too. Locks that "lockkeeper run" takes show their keys as the session's
application as well. The lock of a period, of "lockkeeper run --once", has a name of its own, and is
in the list without KEYs alone.

A session is a process's connection, with all that it holds. SINCE is when it began: PostgreSQL
does not record when a lock was granted. A waiter that polls, or is told when to try, is not in
the server's queue.

With --json ids are strings, since they have more digits than JavaScript's numbers keep.

Exit status: 0 listed, also where there is no lock; 1 failed; 2 a mistake on the command line; 130
interrupted.`

const listExamples = `  lockkeeper ls
  lockkeeper ls deploy backup --watch
  lockkeeper ls --json | jq '.locks[] | select(.waiters != [])'
  lockkeeper ls --json --watch=10s        one object a line, for ever`

// list is what the user asked for.
type list struct {
	database
	ids    []int64
	asJSON bool
	watch  time.Duration
}

func newList() *cobra.Command {
	l := new(list)
	cmd := &cobra.Command{
		Use:               "ls [KEY...]",
		Short:             "Lists who holds locks, and who waits",
		Long:              listHelp,
		Example:           listExamples,
		ValidArgsFunction: cobra.NoFileCompletions,
		Args:              checkKeys,
		RunE:              l.run,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&l.asJSON, "json", false, "print JSON: one object, or with --watch one a line")
	flags.DurationVar(&l.watch, "watch", 0, "list again and again, with this pause")
	flags.Lookup("watch").NoOptDefVal = "2s"
	flags.Int64SliceVar(&l.ids, "id", nil, "list the locks with these ids, as the list shows them")
	l.database.add(cmd)
	return cmd
}

func (l *list) run(cmd *cobra.Command, keys []string) error {
	if l.watch < 0 || cmd.Flags().Changed("watch") && l.watch < 100*time.Millisecond {
		return usage(cmd, "--watch is %v: it must be 100ms or more", l.watch)
	}
	if pause, is := pauseAmong(keys); is && cmd.Flags().Changed("watch") && cmd.ArgsLenAtDash() < 0 {
		return usage(cmd, "--watch takes its pause behind an equals sign: --watch=%s; if %q is a key, put -- before the keys", pause, pause)
	}
	ctx := cmd.Context()
	wanted, err := l.wantedIDs(cmd, keys, l.ids)
	if err != nil {
		return err
	}
	m, err := l.open(ctx, cmd, "lockkeeper ls")
	if err != nil {
		return err
	}
	defer func() { _ = closeManager(ctx, m) }()
	for {
		locks, err := listLocks(ctx, m, wanted)
		switch {
		case err != nil && l.watch > 0 && ctx.Err() == nil: // a server that restarts is back sooner or later
			cmd.PrintErrln("lockkeeper:", trimName(err.Error()))
		case err != nil:
			return err
		default:
			if err := l.print(cmd.OutOrStdout(), locks, len(keys) > 0); err != nil || l.watch == 0 {
				return err
			}
		}
		if err := interrupt.Sleep(ctx, l.watch); err != nil {
			return err
		}
	}
}

// pauseAmong finds a key that looks as if it were meant to be the pause of --watch.
func pauseAmong(keys []string) (pause string, is bool) {
	i := slices.IndexFunc(keys, func(key string) bool {
		_, err := time.ParseDuration(key)
		return err == nil
	})
	if i < 0 {
		return "", false
	}
	return keys[i], true
}

// wantedIDs are those of keys, with their names; all locks are wanted where it is nil.
func (n *naming) wantedIDs(cmd *cobra.Command, keys []string, ids []int64) (map[int64]string, error) {
	if len(keys)+len(ids) == 0 {
		return nil, nil
	}
	f, err := n.function(cmd)
	if err != nil {
		return nil, err
	}
	hash := hashing.Namespaced(n.namespace, f)
	wanted := make(map[int64]string)
	for _, id := range ids {
		wanted[id] = ""
	}
	for _, key := range keys {
		names := []string{key, key + "#gate", key + "#slots"}
		for i := range manager.MaxSlots {
			names = append(names, key+"#slot "+strconv.Itoa(i))
		}
		for _, name := range names {
			wanted[hash(name)] = name
		}
	}
	return wanted, nil
}

// listLocks lists those that are wanted.
func listLocks(ctx context.Context, m *manager.Manager, wanted map[int64]string) ([]manager.LockInfo, error) {
	all, err := m.Locks(ctx)
	if err != nil || wanted == nil {
		return all, err
	}
	var locks []manager.LockInfo
	for _, lock := range all {
		if name, ok := wanted[lock.ID]; ok {
			lock.Key = name
			locks = append(locks, lock)
		}
	}
	return locks, nil
}

// jsonLock is a lock as --json prints it.
type jsonLock struct {
	ID      string        `json:"id"`
	Key     string        `json:"key,omitempty"`
	Holders []jsonSession `json:"holders"`
	Waiters []jsonSession `json:"waiters"`
}

type jsonSession struct {
	PID         uint32     `json:"pid"`
	Application string     `json:"application"`
	Client      string     `json:"client"`
	Since       *time.Time `json:"session_since"` // null: the server hides it
	Shared      bool       `json:"shared"`
	Waited      float64    `json:"waited_seconds,omitempty"`
}

func sessionsOf(sessions []manager.LockSession) []jsonSession {
	out := make([]jsonSession, len(sessions))
	for i, s := range sessions {
		out[i] = jsonSession{s.PID, s.ApplicationName, s.ClientAddr, nil, s.Shared, s.Waited.Seconds()}
		if since := s.Since.UTC(); !since.IsZero() {
			out[i].Since = &since
		}
	}
	return out
}

func (l *list) print(w io.Writer, locks []manager.LockInfo, named bool) error {
	if l.asJSON {
		out := struct {
			Time  time.Time  `json:"time"`
			Locks []jsonLock `json:"locks"`
		}{time.Now().UTC(), make([]jsonLock, len(locks))}
		for i, lock := range locks {
			out.Locks[i] = jsonLock{strconv.FormatInt(lock.ID, 10), lock.Key, sessionsOf(lock.Holders), sessionsOf(lock.Waiters)}
		}
		return printJSON(w, out, l.watch > 0)
	}
	if l.watch > 0 {
		if term.IsTerminal(int(os.Stdout.Fd())) {
			fmt.Fprint(w, "\x1b[H\x1b[2J")
		}
		if _, err := fmt.Fprintf(w, "%s, every %v\n", time.Now().Format(time.DateTime), l.watch); err != nil {
			return err
		}
	}
	if len(locks) == 0 {
		_, err := fmt.Fprintln(w, "No locks.")
		return err
	}
	return printTable(w, rowsOf(locks, named))
}

func rowsOf(locks []manager.LockInfo, named bool) [][]string {
	rows := [][]string{{"ID", "KEY", "STATE", "MODE", "PID", "APPLICATION", "CLIENT", "SINCE"}}
	for _, lock := range locks {
		for i, s := range append(lock.Holders, lock.Waiters...) {
			state, mode := "holds", "exclusive"
			if i >= len(lock.Holders) {
				state = "waits"
				if s.Waited > 0 {
					state = "waits " + s.Waited.Round(100*time.Millisecond).String()
				}
			}
			if s.Shared {
				mode = "shared"
			}
			rows = append(rows, []string{strconv.FormatInt(lock.ID, 10), printable(lock.Key), state, mode, strconv.FormatUint(uint64(s.PID), 10),
				printable(s.ApplicationName), clientOf(s), sinceOf(s)})
		}
	}
	if !named {
		for i, row := range rows {
			rows[i] = append(row[:1:1], row[2:]...)
		}
	}
	return rows
}

// hidden is what the server does not tell of another role's session, to a role without pg_read_all_stats.
const hidden = "hidden"

func sinceOf(s manager.LockSession) string {
	if s.Since.IsZero() {
		return hidden
	}
	return s.Since.Local().Format(time.DateTime)
}

func clientOf(s manager.LockSession) string {
	switch {
	case s.ClientAddr != "":
		return s.ClientAddr
	case s.Since.IsZero():
		return hidden
	}
	return "local"
}
