package cli

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/bench/internal/report"
)

const mergeHelp = `Merge makes one Markdown page of several runs that --json has written. Where a run has one
figure, the page has the range over all runs, its lower end first.

The runs have to be of one machine, with the same servers, arguments and baseline. For
docs/benchmarks.md take three full runs at different hours.`

const mergeExamples = `  bench --json >1.json          and later again, into 2.json and 3.json
  bench merge 1.json 2.json 3.json --markdown docs/benchmarks.md`

func (p Program) merge() *cobra.Command {
	var markdown string
	cmd := &cobra.Command{
		Use:     "merge FILE...",
		Short:   "Makes one page with ranges of several runs' JSON",
		Long:    mergeHelp,
		Example: mergeExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("merge needs the files that runs with --json have written")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			var runs []report.Saved
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				saved, err := report.Read(bytes.NewReader(text))
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				runs = append(runs, saved...)
			}
			merged, err := report.Merge(p.catalogue(), runs)
			if err != nil {
				return err
			}
			for _, warning := range merged.Warnings() {
				fmt.Fprintln(cmd.ErrOrStderr(), "Warning:", warning)
			}
			if markdown == "" {
				return merged.Markdown(cmd.OutOrStdout())
			}
			return writeFile(markdown, merged.Markdown)
		},
	}
	cmd.Flags().StringVar(&markdown, "markdown", "", "write the page to this file instead of standard output")
	return cmd
}
