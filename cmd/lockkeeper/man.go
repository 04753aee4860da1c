package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Prints the manual page",
		Long:  "Prints the manual page of all commands, for man(1).",
		Example: `  lockkeeper man | man -l -
  lockkeeper man >/usr/local/share/man/man1/lockkeeper.1`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return writeManual(cmd.OutOrStdout(), cmd.Root()) },
	}
}

// writeManual writes one page in the macros of man(7), made of the same texts as the help.
func writeManual(w io.Writer, root *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH LOCKKEEPER 1 \"\" \"lockkeeper %s\" \"User Commands\"\n", roff(root.Version))
	fmt.Fprintf(&b, ".SH NAME\nlockkeeper \\- %s\n", roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	b.WriteString(".SH SYNOPSIS\n.nf\n")
	commands := visible(root)
	for _, c := range commands {
		fmt.Fprintf(&b, "%s\n", roff(c.UseLine()))
	}
	b.WriteString(".fi\n.SH DESCRIPTION\n")
	preformatted(&b, root.Long)
	b.WriteString(".SH COMMANDS\n")
	for _, c := range commands {
		fmt.Fprintf(&b, ".SS %s\n%s.\n.PP\n", roff(c.UseLine()), roff(c.Short))
		if c.Name() == "completion" {
			b.WriteString("See lockkeeper completion \\-\\-help.\n")
			continue
		}
		preformatted(&b, c.Long)
		options(&b, c.NonInheritedFlags())
		if c.Example != "" {
			b.WriteString(".PP\nExamples:\n.PP\n")
			preformatted(&b, c.Example)
		}
	}
	b.WriteString(".SH ENVIRONMENT\n")
	for _, v := range environment {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(v[0]), roff(v[1]))
	}
	b.WriteString(".SH EXAMPLES\n")
	preformatted(&b, root.Example)
	b.WriteString(".SH SEE ALSO\nflock(1), timeout(1), psql(1), pg_locks in the manual of PostgreSQL\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// environment is for the manual.
var environment = [][2]string{
	{"LOCKKEEPER_DSN", "The connection string, a URL or key=value pairs. DATABASE_URL is next, then PGHOST, PGSERVICE, PGPASSFILE " +
		"and the other variables of psql but PGHOSTADDR, which also fill in what a connection string leaves out."},
	{"LOCKKEEPER_NAMESPACE", "The default of --namespace."},
	{"LOCKKEEPER_HASH", "The default of --hash."},
	{"LOCKKEEPER_SECRET_FILE", "The default of --secret-file."},
	{"LOCKKEEPER_TRANSACTION_POOLER", "Where it is set, and not 0 or false, --transaction-pooler is the default."},
	{"LOCKKEEPER_KEY, LOCKKEEPER_ID, LOCKKEEPER_TOKEN, LOCKKEEPER_SLOT, LOCKKEEPER_PERIOD", "Set for CMD: see lockkeeper run."},
}

func visible(root *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			out = append(out, c)
		}
	}
	return out
}

// preformatted keeps the lines of a text, which are short enough for a screen.
func preformatted(b *strings.Builder, text string) {
	b.WriteString(".nf\n")
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(roff(line) + "\n")
	}
	b.WriteString(".fi\n")
}

func options(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, text := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		if f.NoOptDefVal != "" && kind != "" { // as the help has it; that of a switch is "true", and it has no kind
			name += "[=" + f.NoOptDefVal + "]"
		}
		if !slices.Contains([]string{"", "false", "0", "0s", "[]"}, f.DefValue) {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(text))
	})
}

// roff escapes a line of text.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\`", "^", `\(ha`, "~", `\(ti`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
