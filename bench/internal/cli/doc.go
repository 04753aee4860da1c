// Package cli is the command line of the harness.
package cli
