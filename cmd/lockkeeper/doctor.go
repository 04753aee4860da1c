package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

const doctorHelp = `Looks whether this server, what stands before it, this role and its settings serve for locks, and
says what to do where they do not. It takes a lock of its own for a moment, and changes nothing.

  connection    can this role log in, how far away is the server?
  server        is it a PostgreSQL that keeps session locks, and new enough?
  primary       does it take writes, or is it a standby?
  pooler        does something stand between that gives one client's statements to several sessions?
  locks         is a lock taken, seen, refused to a second session, and released?
  role          may it use the lock functions, wait quietly, see who holds a lock, end a session?
  settings      are the session's settings taken, and do the server's suit?
  lock table    how much of it is in use?
  connections   are enough of them free for one more process?

Exit status: 0 it serves, perhaps with warnings; 1 it does not, or cannot be reached; 2 a mistake
on the command line.`

const doctorExamples = `  lockkeeper doctor
  DATABASE_URL=postgres://app@pgbouncer:6432/app lockkeeper doctor
  lockkeeper doctor --json | jq '.checks[] | select(.verdict != "ok")'`

// The verdicts.
const (
	verdictOK      = "ok"
	verdictWarning = "warning"
	verdictFailure = "failure"
	verdictSkipped = "skipped"
)

// check is the answer to one question.
type check struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy,omitempty"`
}

// diagnosis is all of them.
type diagnosis struct {
	Serves   bool    `json:"serves"`
	Warnings int     `json:"warnings"`
	Checks   []check `json:"checks"`
}

func (d *diagnosis) add(c check) {
	d.Checks = append(d.Checks, c)
	switch c.Verdict {
	case verdictFailure:
		d.Serves = false
	case verdictWarning:
		d.Warnings++
	}
}

func (d *diagnosis) ok(name, format string, args ...any) {
	d.add(check{Name: name, Verdict: verdictOK, Detail: fmt.Sprintf(format, args...)})
}

func (d *diagnosis) warn(name, detail, remedy string) {
	d.add(check{name, verdictWarning, detail, remedy})
}

func (d *diagnosis) fail(name, detail, remedy string) {
	d.add(check{name, verdictFailure, detail, remedy})
}

func (d *diagnosis) skip(name, why string) {
	d.add(check{Name: name, Verdict: verdictSkipped, Detail: why})
}

func newDoctor() *cobra.Command {
	d := new(database)
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Says whether this server, role and pooler serve for locks",
		Long:    doctorHelp,
		Example: doctorExamples,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := d.examine(cmd)
			if err != nil {
				return err
			}
			if err := context.Cause(cmd.Context()); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), found, false)
			} else {
				err = found.print(cmd.OutOrStdout())
			}
			if err == nil && !found.Serves {
				err = exitError{exitFailed, nil}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&asJSON, "json", false, "print one JSON object")
	d.add(cmd)
	return cmd
}

func (d *diagnosis) print(w io.Writer) error {
	var rows [][]string
	for _, c := range d.Checks {
		rows = append(rows, []string{c.Verdict, c.Name, c.Detail})
		if c.Remedy != "" {
			rows = append(rows, []string{"", "", "-> " + c.Remedy})
		}
	}
	if err := printTable(w, rows); err != nil {
		return err
	}
	verdict := "This serves for locks."
	switch {
	case !d.Serves:
		verdict = "This does not serve for locks: see the failures above."
	case d.Warnings == 1:
		verdict = "This serves for locks, with 1 warning."
	case d.Warnings > 1:
		verdict = fmt.Sprintf("This serves for locks, with %d warnings.", d.Warnings)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}
