package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// Brief is a result in a few words, for progress.
func Brief(r scenario.Result) string {
	switch {
	case r.Failed != "":
		return "FAILED: " + r.Failed
	case r.NotApplicable != "":
		return r.NotApplicable
	case r.PairsPerSecond > 0:
		return fmt.Sprintf("%s pairs/s, p50 %s, p99 %s", thousands(r.PairsPerSecond), duration(r.P50), duration(r.P99))
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		parts = append(parts, name+" "+short(r.Extra[name]))
	}
	return strings.Join(parts, ", ")
}
