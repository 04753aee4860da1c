// Package plan says what a chaos run does before it does it: what was asked for, and the schedule of faults, which is a
// pure function of that and of the seed.
package plan
