// Package doccheck is a test of the documentation: each Go block compiles, each link leads somewhere. It has no code beside its tests.
package doccheck
