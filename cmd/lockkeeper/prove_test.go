//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startProof starts a proof of an hour, and waits until its workers contend. They are children of the program.
func startProof(t *testing.T, args ...string) (s *started, workers []int) {
	t.Helper()
	s = start(t, newDatabase(t), append([]string{"prove", "--processes", "2", "--workers", "4", "--keys", "1", "--duration", "1h"}, args...)...)
	for began := time.Now(); ; {
		if workers = children(s.cmd.Process.Pid); len(workers) == 2 {
			return s, workers
		}
		if time.Since(began) > bound/2 {
			t.Fatalf("the workers are %v", workers)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// children are the processes that a process has started.
func children(parent int) (found []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range stats {
		text, _ := os.ReadFile(path) // it may have ended
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
}

// The end of a worker ends the proof, and not only when its time is over.
func TestAProofEndsWithAWorker(t *testing.T) {
	t.Parallel()
	s, workers := startProof(t)
	if err := syscall.Kill(workers[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.wait(exitFailed)
	if text := s.stderr.String(); !strings.Contains(text, "a worker process has ended") {
		t.Error(text)
	}
}

// Ctrl-C does not hide what was found before.
func TestAnInterruptedProofThatFoundAnOverlapFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, _ := startProof(t, "--no-locks")
	for began := time.Now(); ; {
		folders, _ := os.ReadDir(os.Getenv("TMPDIR"))
		if len(folders) > 0 {
			counter, _ := os.ReadFile(os.Getenv("TMPDIR") + "/" + folders[0].Name() + "/0")
			if strings.Trim(string(counter), "\x00\x01") != "" { // two, and by then eight have been inside
				break
			}
		}
		if time.Since(began) > bound/2 {
			t.Fatal("nobody was inside")
		}
		<-time.After(5 * time.Millisecond)
	}
	s.signal(syscall.SIGINT)
	s.wait(exitFailed)
	if text := s.stderr.String(); !strings.Contains(text, "the locks do not exclude") {
		t.Errorf("%q", text)
	}
}
