package cli

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/lockkeeper/lockkeeper/bench/internal/baseline"
	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// original is the system that --baseline measures at another commit.
const original = "lockkeeper"

// withBaseline builds the program with the library at the revision, and adds its system to the catalogue and to the plan.
// The caller calls remove once the run is over, also when there is an error.
func (p Program) withBaseline(ctx context.Context, revision string, plan *harness.Plan, say func(string)) (_ harness.Catalogue,
	remove func() error, err error) {
	remove = func() error { return nil }
	if !slices.Contains(plan.Systems, original) {
		return p.Catalogue, remove, usage("--baseline compares with %s, which --systems leaves out", original)
	}
	source, err := baseline.FindSource()
	if err != nil {
		return p.Catalogue, remove, err
	}
	b := baseline.Builder{Source: source, Package: p.Package, Cache: filepath.Join(source, ".bin", "baseline"), Say: say}
	program, err := b.Build(ctx, revision)
	if errors.Is(err, baseline.ErrUnknownRevision) {
		return p.Catalogue, remove, usage("--baseline: %w", err)
	}
	if err != nil {
		return p.Catalogue, remove, err
	}
	v := harness.Variant{Label: original + "@" + program.Commit.Label(), Of: original, Program: program.Path,
		Commit: program.Commit.String()}
	plan.Systems = append(slices.Clone(plan.Systems), v.Label)
	return p.Catalogue.WithVariant(v, program.Own), program.Close, nil
}

// commit describes the checkout that the program belongs to, "" where that cannot be told.
func commit(ctx context.Context) string {
	source, err := baseline.FindSource()
	if err != nil {
		return ""
	}
	return baseline.Describe(ctx, source)
}
