package server

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestCountGoroutinesSeesALeak(t *testing.T) {
	before := runtime.NumGoroutine()
	const leaked = 20
	end := make(chan struct{})
	for range leaked {
		go func() { <-end }()
	}
	got, stacks := countGoroutines(before, 10*time.Millisecond)
	close(end)
	if got < 1 || got > leaked || !strings.Contains(stacks, "TestCountGoroutinesSeesALeak") {
		t.Errorf("leaked %d, and the stacks are\n%s", got, stacks)
	}
	if got, _ := CountGoroutines(before); got != 0 {
		t.Errorf("leaked %d after the goroutines had ended", got)
	}
}
