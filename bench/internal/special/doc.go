// Package special has the scenarios that ask for something else than pairs per second: memory, time to wake, time to hear
// of a loss, fairness between processes. Each says in its text what its figure is.
package special
