package report

import (
	"io"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

func HTML(w io.Writer, c harness.Catalogue, o harness.Outcome) error { return nil }
func Markdown(w io.Writer, c harness.Catalogue, o harness.Outcome) error { return nil }
