package faults

import (
	"fmt"
	"os"
	"strings"
)

// playChild is the whole of a process that a test has started.
func playChild(call string) int {
	words := strings.Split(call, "\n")
	parts := map[string]func(args []string) error{}
	play, ok := parts[words[0]]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such part:", words[0])
		return 2
	}
	if err := play(words[1:]); err != nil {
		fmt.Fprintln(os.Stderr, words[0], "failed:", err)
		return 1
	}
	return 0
}
