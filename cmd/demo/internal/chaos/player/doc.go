// Package player is one worker process of a chaos run: goroutines that take locks through a manager of their own, look all
// the time whether they still hold them, write to the database while they do, and record everything before they act on it.
package player
