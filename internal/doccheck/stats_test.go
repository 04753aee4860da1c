package doccheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// withoutMetric are the figures of Stats that are no metric, each with the reason.
var withoutMetric = map[string]string{
	"Stats.Wait":         "WaitBuckets has it, and histograms of several processes can be added up",
	"Stats.RoundTrip":    "percentiles of several processes cannot be added up",
	"BatchStats.Largest": "a maximum since the start does not tell of now",
}

// ofObserver makes its histograms of what its observer is told, not of Stats.
const ofObserver = "otel/watch.go"

// Each figure of Stats is a metric in both collectors: a new one must not be left out by oversight. Both have the Stats in a variable s.
func TestStatsAreMetrics(t *testing.T) {
	for _, name := range []string{ofObserver, "prom/collector.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(name)), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		used := map[string]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, is := n.(*ast.SelectorExpr); is {
				used[types.ExprString(s)] = true
			}
			return true
		})
		figures := 0
		var look func(of reflect.Type, as string)
		look = func(of reflect.Type, as string) {
			for i := range of.NumField() {
				field := of.Field(i)
				full := of.Name() + "." + field.Name
				histogram := field.Type == reflect.TypeFor[manager.Buckets]()
				if withoutMetric[full] != "" || histogram && name == ofObserver {
					continue
				}
				figures++
				if !used[as+"."+field.Name] {
					t.Errorf("%s does not read %s: make a metric of it, or add it to withoutMetric", name, full)
				}
				if field.Type.Kind() == reflect.Struct && !histogram {
					look(field.Type, as+"."+field.Name)
				}
			}
		}
		look(reflect.TypeFor[manager.Stats](), "s")
		if figures < 20 {
			t.Errorf("only %d figures are found", figures)
		}
	}
}
