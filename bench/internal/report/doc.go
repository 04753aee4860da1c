// Package report makes tables and pages of what was measured.
package report
