// Package chaos carries out a chaos run: worker processes take locks, a nemesis makes the faults of a schedule that the
// seed determines, and the recorded history is checked. Package plan holds options and schedule, package history the check,
// package summary the report.
package chaos
