package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/bench/internal/baseline"
	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/report"
)

const help = `Bench compares Lockkeeper with what one could use instead, in one run on one machine:
every scenario against every system, in turns, at least five rounds of each.

The only claims are ratios within one run. Absolute figures depend on the machine, and on
what else it does meanwhile.

It needs no set-up: PostgreSQL, Redis and etcd are started in temporary folders, and are
removed at the end, after a Ctrl-C too. A system whose server is not installed, or that
fails in a scenario, is reported as failing with the reason.

--quick makes everything small and ends within 50 seconds: three short rounds, Lockkeeper,
pgx and the limit of batches in every scenario, the other systems in distinct-100 alone.
With --systems, those named run in every scenario. Rounds that no longer fit are left out.

--baseline REV builds the library at another commit and measures it in the same run, in turns
with the checkout's, as the system lockkeeper@REV. REV is anything that git understands: a
hash, a branch, a tag, HEAD~3. The harness is that of the checkout for both. Reports show the
ratio to the baseline beside the ratio to pgx. The checkout is not touched, and its files may
have been changed: lockkeeper is then what they are now.

Reports also tell how costly a switch between processes is: pgbench's SELECT 1 by 50 clients
to the same by one. The ratio to pgx depends on it.`

const examples = `  bench --quick                                    a first look
  bench --quick --only lone,distinct-1000 --systems lockkeeper,pgx
                                                   while tuning
  bench --only distinct-100 --rounds 9 --seconds 2 one question, answered well
  bench --baseline HEAD~1 --only distinct-1000 --systems lockkeeper,pgx
                                                   what the last commit changed
  bench --html bench.html --markdown docs/benchmarks.md
                                                   the full run, half an hour`

// flags are what the command line sets: of the plan Quick, Scenarios, Systems and Rounds.
type flags struct {
	harness.Plan
	seconds        float64
	list, json     bool
	html, markdown string
	baseline       string
}

func (p Program) root() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:           "bench",
		Short:         "Compares Lockkeeper with what one could use instead",
		Long:          help,
		Example:       examples,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("there are no arguments, and %q was given; scenarios go after --only", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd, f) },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%w", err) })
	set := root.Flags()
	set.SortFlags = false
	set.BoolVar(&f.Quick, "quick", false, "small and short: ends within 50 seconds")
	set.StringSliceVar(&f.Scenarios, "only", nil, "scenarios to run, comma-separated (default: all)")
	set.StringSliceVar(&f.Systems, "systems", nil, "systems to run, comma-separated (default: all)")
	set.IntVar(&f.Rounds, "rounds", 5, "rounds of each measurement; 3 with --quick")
	set.Float64Var(&f.seconds, "seconds", 1, "length of one measurement; 0.25 with --quick")
	set.StringVar(&f.baseline, "baseline", "", "measure the library at this commit too, as the system lockkeeper@REV (example: --baseline HEAD~1)")
	set.BoolVar(&f.list, "list", false, "list scenarios and systems, and do nothing")
	set.BoolVar(&f.json, "json", false, "one JSON object a line for each scenario and system, instead of tables")
	set.StringVar(&f.html, "html", "", "write a page with charts to this file")
	set.StringVar(&f.markdown, "markdown", "", "write the page for docs/ to this file")
	root.AddCommand(p.merge())
	root.AddCommand(p.hidden()...)
	return root
}

// The lengths of a quick run: after the budget no further round begins, after the limit nothing does.
const (
	quickRounds  = 3
	quickSeconds = 0.25
	quickBudget  = 36 * time.Second
	quickLimit   = 40 * time.Second
)

// How long a measurement may take on top of its window: some scenarios prepare 100,000 keys, and slow systems do too.
const (
	slack      = 2 * time.Minute
	quickSlack = 30 * time.Second
)

func plan(set *pflag.FlagSet, f flags, c harness.Catalogue) (p harness.Plan, err error) {
	p = f.Plan
	p.Everywhere, p.Named = set.Changed("systems"), set.Changed("only")
	p.Budget, p.Limit, p.Slack = quickBudget, quickLimit, slack
	if p.Quick {
		p.Slack = quickSlack
		if !set.Changed("rounds") {
			p.Rounds = quickRounds
		}
		if !set.Changed("seconds") {
			f.seconds = quickSeconds
		}
	}
	if p.Scenarios, err = choose("scenario", p.Scenarios, c.ScenarioNames()); err != nil {
		return p, err
	}
	if p.Systems, err = choose("system", p.Systems, c.SystemNames()); err != nil {
		return p, err
	}
	switch {
	case p.Rounds < 1 || p.Rounds > 1000:
		return p, usage("--rounds is %d: it must be between 1 and 1000", p.Rounds)
	case !(f.seconds >= 0.05 && f.seconds <= 600): // written so that NaN, which flags take, is refused
		return p, usage("--seconds is %v: it must be between 0.05 and 600", f.seconds)
	}
	p.Duration = time.Duration(f.seconds * float64(time.Second))
	p.Warmup = min(p.Duration/2, 300*time.Millisecond)
	return p, nil
}

// choose returns what was named, or all.
func choose(what string, named, all []string) ([]string, error) {
	if len(named) == 0 {
		return all, nil
	}
	for i, name := range named {
		named[i] = strings.TrimSpace(name)
		if !slices.Contains(all, named[i]) {
			return nil, usage("there is no %s %q; there are: %s", what, name, strings.Join(all, ", "))
		}
	}
	return named, nil
}

func (p Program) run(cmd *cobra.Command, f flags) (err error) {
	c := p.catalogue()
	if f.list {
		return list(cmd.OutOrStdout(), c)
	}
	plan, err := plan(cmd.Flags(), f, c)
	if err != nil {
		return err
	}
	progress := newProgress(cmd.ErrOrStderr())
	source, noSource := baseline.FindSource()
	checkout := ""
	if noSource == nil {
		checkout = baseline.Describe(cmd.Context(), source)
	}
	if cmd.Flags().Changed("baseline") {
		if !slices.Contains(plan.Systems, original) {
			return usage("--baseline compares with %s, which --systems leaves out", original)
		}
		if noSource != nil {
			return noSource
		}
		program, failed := p.build(cmd.Context(), source, f.baseline, progress.Say)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, program.Close()) }()
		v := harness.System{Name: original + "@" + program.Commit.Label(), Of: original, Program: program.Path, Commit: program.Commit.String()}
		plan.Systems = append(slices.Clone(plan.Systems), v.Name)
		c = c.WithVariant(v, program.Own)
	}
	outcome, err := harness.Run(cmd.Context(), c, plan, progress)
	if len(outcome.Measurements) == 0 {
		return errors.Join(err, cmd.Context().Err())
	}
	r := report.New(c, plan, outcome, arguments(cmd), checkout)
	write := r.Text
	if f.json {
		write = r.JSON
	}
	if err = errors.Join(err, write(cmd.OutOrStdout())); err != nil {
		return err // and no pages of half a run
	}
	if !r.Any() {
		return errors.New("nothing could be measured")
	}
	return errors.Join(writeFile(f.html, r.HTML), writeFile(f.markdown, r.Markdown))
}

// original is the system that --baseline measures at another commit.
const original = "lockkeeper"

// build builds this program with the library at the revision.
func (p Program) build(ctx context.Context, source, revision string, say func(string)) (baseline.Program, error) {
	b := baseline.Builder{Source: source, Package: p.Package, Cache: filepath.Join(source, ".bin", "baseline"), Say: say}
	program, err := b.Build(ctx, revision)
	if errors.Is(err, baseline.ErrUnknownRevision) {
		err = usage("--baseline: %w", err)
	}
	return program, err
}

// arguments are those that a run is repeated with: files that it wrote are no part of it.
func arguments(cmd *cobra.Command) string {
	var set []string
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		switch value := flag.Value.String(); flag.Name {
		case "html", "markdown", "json":
		case "quick":
			set = append(set, "--quick")
		default:
			set = append(set, "--"+flag.Name+" "+strings.Trim(value, "[]"))
		}
	})
	return strings.Join(set, " ")
}

func writeFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

func list(w io.Writer, c harness.Catalogue) error {
	var b strings.Builder
	b.WriteString("Scenarios:\n")
	for _, s := range c.Scenarios {
		fmt.Fprintf(&b, "  %-18s %s\n", s.Name, s.Text)
	}
	b.WriteString("\nSystems:")
	before := ""
	for _, s := range c.Systems {
		if s.Server.Name != before {
			fmt.Fprintf(&b, "\n  %-18s %s", "on "+s.Server.Name, s.Name)
		} else {
			b.WriteString(", " + s.Name)
		}
		before = s.Server.Name
	}
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}
