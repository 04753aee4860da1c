package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Saved is a run that --json has written.
type Saved struct {
	Run
	Rows []Row
}

// ErrNoRun is returned when lines lack the run that they belong to, as those of older harnesses do.
var ErrNoRun = errors.New("it does not say which run it is of: it is no file of --json, or one of an older harness")

// Read reads what --json has written. Lines of several runs may follow each other.
func Read(r io.Reader) ([]Saved, error) {
	var runs []Saved
	for decoder, n := json.NewDecoder(r), 1; ; n++ {
		var line object
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("object %d: %w", n, err)
		}
		if line.Run == nil || line.Run.Date.IsZero() {
			return nil, fmt.Errorf("object %d: %w", n, ErrNoRun)
		}
		if len(runs) == 0 || !runs[len(runs)-1].Date.Equal(line.Run.Date) {
			runs = append(runs, Saved{Run: *line.Run})
		}
		last := &runs[len(runs)-1]
		last.Rows = append(last.Rows, line.row())
	}
	if len(runs) == 0 {
		return nil, errors.New("it is empty")
	}
	return runs, nil
}
