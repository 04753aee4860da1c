package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lockkeeper/lockkeeper/manager"
)

const terminateHelp = `Ends the session that holds KEY's lock, with all other locks that it holds: their holders lose
them, and are told. Where several share the lock, choose one by --pid, or all by --all. The lock of
a period, of "lockkeeper run --once", is named by the --id that "lockkeeper ls" shows.

It asks before it does so, unless --yes is given. The session is ended only if it is still the one
that was shown: a pid is used again. The role needs the right to end it: its own sessions, or
pg_signal_backend and, to see when another role's session began, pg_read_all_stats.

Exit status: 0 ended; 1 nobody holds it, you said no, or it failed; 2 a mistake on the command
line.`

const terminateExamples = `  lockkeeper terminate deploy
  lockkeeper terminate --pid 4711 --yes catalogue
  lockkeeper terminate --id 8470306867926653474`

// termination is what the user asked for.
type termination struct {
	database
	yes, all bool
	id       int64
	pid      uint32
}

func newTerminate() *cobra.Command {
	t := new(termination)
	cmd := &cobra.Command{
		Use:               "terminate {KEY | --id ID}",
		Short:             "Ends the session that holds a lock",
		Long:              terminateHelp,
		Example:           terminateExamples,
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(cmd *cobra.Command, args []string) error {
			wanted := 1
			if cmd.Flags().Changed("id") {
				wanted = 0
			}
			if len(args) != wanted {
				return usage(cmd, "one key is needed, or --id, and %d keys were given", len(args))
			}
			return checkKeys(cmd, args)
		},
		RunE: t.run,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&t.yes, "yes", "y", false, "do not ask")
	flags.Uint32Var(&t.pid, "pid", 0, "only the holder with this server pid")
	flags.BoolVar(&t.all, "all", false, "all sessions that share the lock")
	flags.Int64Var(&t.id, "id", 0, "the lock with this id, as ls shows it, instead of a key's")
	cmd.MarkFlagsMutuallyExclusive("pid", "all")
	t.database.add(cmd)
	return cmd
}

func (t *termination) run(cmd *cobra.Command, args []string) error {
	if !t.yes && !term.IsTerminal(int(os.Stdin.Fd())) {
		return usage(cmd, "standard input is no terminal to ask at: give --yes")
	}
	name := fmt.Sprintf("id %d", t.id)
	ids := []int64{t.id}
	if len(args) > 0 {
		name, ids = strconv.Quote(args[0]), nil
	}
	wanted, err := t.wantedIDs(cmd, args, ids)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	m, err := t.open(ctx, cmd, "lockkeeper terminate")
	if err != nil {
		return err
	}
	defer func() { _ = closeManager(ctx, m) }()
	locks, err := m.Locks(ctx)
	if err != nil {
		return err
	}
	holders := t.holders(locks, wanted)
	switch {
	case len(holders) == 0 && t.pid != 0:
		return fmt.Errorf("pid %d does not hold %s", t.pid, name)
	case len(holders) == 0:
		return fmt.Errorf("nobody holds %s", name)
	case len(holders) > 1 && !t.all:
		return usage(cmd, "%d sessions hold %s: choose one by --pid (%s), or give --all", len(holders), name, pidsOf(holders))
	}
	var errs []error
	for _, s := range holders {
		if err := t.end(ctx, cmd, m, s, countOf(locks, s)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// holders are the sessions that hold one of the wanted locks.
func (t *termination) holders(locks []manager.LockInfo, wanted map[int64]string) []manager.LockSession {
	var found []manager.LockSession
	for _, lock := range locks {
		if _, ok := wanted[lock.ID]; !ok {
			continue
		}
		for _, s := range lock.Holders {
			known := slices.ContainsFunc(found, func(o manager.LockSession) bool { return o.PID == s.PID })
			if !known && (t.pid == 0 || t.pid == s.PID) {
				found = append(found, s)
			}
		}
	}
	return found
}

// countOf is how many locks a session holds.
func countOf(locks []manager.LockInfo, s manager.LockSession) int {
	n := 0
	for _, lock := range locks {
		if slices.ContainsFunc(lock.Holders, func(o manager.LockSession) bool { return o.PID == s.PID }) {
			n++
		}
	}
	return n
}

func pidsOf(sessions []manager.LockSession) string {
	pids := make([]string, len(sessions))
	for i, s := range sessions {
		pids[i] = strconv.FormatUint(uint64(s.PID), 10)
	}
	return strings.Join(pids, ", ")
}

// end asks, and ends one session.
func (t *termination) end(ctx context.Context, cmd *cobra.Command, m *manager.Manager, s manager.LockSession, count int) error {
	locks := "1 lock"
	if count > 1 {
		locks = strconv.Itoa(count) + " locks"
	}
	name := fmt.Sprintf("pid %d, application %q, client %s, since %s, which holds %s", s.PID, s.ApplicationName, clientOf(s),
		sinceOf(s), locks)
	if s.Since.IsZero() { // before it asks for nothing
		return fmt.Errorf("%s: %w", name, manager.ErrSessionHidden)
	}
	if !t.yes {
		fmt.Fprintf(cmd.ErrOrStderr(), "End the session of %s? [y/N] ", name)
		answer, err := readAnswer(ctx)
		if err != nil {
			return err
		}
		if answer != "y" && answer != "yes" {
			return errors.New("nothing was ended")
		}
	}
	if err := m.Terminate(ctx, s); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "Ended: %s.\n", name)
	return err
}

// readAnswer reads a line. At Ctrl-C it returns at once; its goroutine, which reads, ends with the process.
func readAnswer(ctx context.Context) (string, error) {
	lines := make(chan string, 1) // the goroutine does not wait for who went away
	go func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		lines <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-lines:
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
