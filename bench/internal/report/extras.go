package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// extras are the figures that have no column, a line for a system.
func (r Row) extras() []string {
	if len(r.Extra) == 0 {
		return nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		parts = append(parts, fmt.Sprintf("%s %s", name, short(r.Extra[name])))
	}
	return []string{r.System + ": " + strings.Join(parts, ", ")}
}
