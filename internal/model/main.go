// Model checks lockkeeper.pml, a model of the design in Promela, exhaustively at small bounds: spin makes a C program of it, which
// looks at every state that can be reached. It prints a table, and fails where the design violates an assertion or leaves a
// waiter unserved, and where a broken variant of it is not found. docs/model.md explains it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"time"
)

func main() {
	run := flag.String("run", ".", "which checks: a regular expression on their names")
	keep := flag.String("keep", "", "where the history of what was found goes; empty: nowhere")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) //nolint:forbidigo // a program's own
	defer stop()
	if err := all(ctx, os.Stdout, *run, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		os.Exit(1)
	}
}

func all(ctx context.Context, out io.Writer, run, keep string) error {
	pattern, err := regexp.Compile(run)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| check | found | states | CPU seconds |\n|---|---|--:|--:|\n")
	began, failed := time.Now(), 0
	for _, c := range checks() {
		if !pattern.MatchString(c.name) {
			continue
		}
		r, err := c.run(ctx, keep)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		found := r.found
		if found == "" {
			found = "nothing"
		}
		if err := c.judge(r); err != nil {
			failed++
			found = "**" + found + "**"
			fmt.Fprintf(os.Stderr, "model: %s: %v\n", c.name, err)
		}
		fmt.Fprintf(out, "| %s | %s | %d | %.1f |\n", c.name, found, r.states, r.spent.Seconds())
	}
	fmt.Fprintf(out, "\n%.0f s in all, on the clock\n", time.Since(began).Seconds())
	if failed > 0 {
		return fmt.Errorf("%d checks did not come out as they should", failed)
	}
	return nil
}
