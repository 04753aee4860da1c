package main

import (
	"fmt"
	"io"
	"time"
)

// messages are written to standard error without holding up who tells them: it may be a pipe that nobody reads, or a terminal after Ctrl-S, and
// a lock that is lost is to be acted upon all the same.
type messages struct {
	// Sent by the goroutines of run, received by write; closed by close, after which nobody tells anything.
	lines chan string
	// Closed by write at its end; received by close; nothing is sent.
	written chan struct{}
}

const (
	// messagesKept is how many are kept while none can be written. Others are dropped.
	messagesKept = 64
	// messagesBound is how long the end of this process waits for those that are kept.
	messagesBound = time.Second
)

// startMessages starts the goroutine that writes. Joined by close, or, where what it writes to takes nothing, with the process.
func startMessages(w io.Writer) *messages {
	m := &messages{lines: make(chan string, messagesKept), written: make(chan struct{})}
	go m.write(w)
	return m
}

func (m *messages) write(w io.Writer) {
	defer close(m.written)
	for line := range m.lines {
		_, _ = io.WriteString(w, line) // who has closed it wants none
	}
}

// tell queues a message, and never waits.
func (m *messages) tell(format string, args ...any) {
	select {
	case m.lines <- fmt.Sprintf("lockkeeper: "+format+"\n", args...):
	default:
	}
}

// close waits until all is written, for as long as that is likely.
func (m *messages) close() {
	close(m.lines)
	timer := time.NewTimer(messagesBound)
	defer timer.Stop()
	select {
	case <-m.written:
	case <-timer.C:
	}
}
