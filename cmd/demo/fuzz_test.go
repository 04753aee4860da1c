//go:build unix

package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Whatever stands on the command line, it is understood or refused: no panic, a refusal is told as a mistake on the
// command line, and a connection string, which may have a password, is never repeated.
func FuzzArguments(f *testing.F) {
	const secret = "Zq7unseen7qZ"
	for _, args := range []string{
		"", "load", "storm", "worker", "version", "help load", "load --help", "--version", "completion bash", "__complete load --s",
		"load --processes 0", "load --processes=99999999999999999999", "load -p4 -w=7 -k 1", "load --cancel NaN", "load --readers Inf", "load --cancel 1e-400",
		"load --duration 1h1h", "load --hold -0s", "load --skew ZIPF", "load --dsn", "load --dsn postgres://u:" + secret + "@h/db",
		"load --dsn=password=" + secret, "load postgres://u:" + secret + "@h/db", "postgres://u:" + secret + "@h/db",
		"storm --dsn password=" + secret + " --waiters many", "load --dsn=" + secret + " --nonsense", "load --sessions 1 --dsn x",
		"storm --bound=", "storm -n -1", "load -- -x", "-", "--", "load --json=maybe", "load -dsn=postgres://u:" + secret + "@h/db", "storm -dsn password=" + secret,
		"load --cancel=postgres://u:" + secret + "@h/db", "\x00", "l\xffoad",
	} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		var status int
		root := newRoot(&status)
		for _, c := range root.Commands() { // understood, and not done
			c.RunE = func(*cobra.Command, []string) error { return nil }
		}
		var errText strings.Builder
		root.SetArgs(args)
		root.SetOut(io.Discard)
		root.SetErr(&errText)
		err := root.ExecuteContext(t.Context())
		if err == nil {
			return
		}
		if _, ok := errors.AsType[usageError](err); !ok && !byCobra(args) {
			t.Errorf("%q: %T %v is not told as a mistake on the command line", args, err, err)
		}
		shown := errText.String() + err.Error()
		for _, arg := range args {
			if strings.Contains(arg, secret) && strings.ContainsAny(arg, ":=@/") && strings.Contains(shown, secret) {
				t.Errorf("%q: a password is repeated: %s", args, shown)
			}
		}
	})
}

// byCobra reports whether a command of cobra's own is asked for, which has errors of its own.
func byCobra(args []string) bool {
	for _, arg := range args {
		switch {
		case arg == "help", arg == "completion", strings.HasPrefix(arg, "__complete"):
			return true
		case !strings.HasPrefix(arg, "-"):
			return false
		}
	}
	return false
}
