package summary

import "io"

// HTML writes the report as a page that needs nothing else.
func (r *Report) HTML(w io.Writer) error {
	_, err := io.WriteString(w, "todo")
	return err
}
