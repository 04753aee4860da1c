//go:build unix

package proof

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	releaseBound = 30 * time.Second
	// afterFailure keeps a failing worker from spinning.
	afterFailure = 100 * time.Millisecond
)

// CreateFiles makes the files of the keys, each with a counter at 0.
func CreateFiles(folder string, keys int) error {
	for i := range keys {
		if err := os.WriteFile(file(folder, i), make([]byte, 8), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func file(folder string, key int) string { return filepath.Join(folder, fmt.Sprintf("%d", key)) }

// Count is the sum of the counters.
func Count(folder string, keys int) (sum uint64, err error) {
	for i := range keys {
		content, err := os.ReadFile(file(folder, i))
		if err != nil || len(content) < 8 {
			return 0, fmt.Errorf("the counter of key %d: %d bytes: %w", i, len(content), err)
		}
		sum += binary.LittleEndian.Uint64(content)
	}
	return sum, nil
}

// Work contends until ctx ends, and returns what its goroutines have seen when all have ended. No hold is cut short by ctx.
func Work(ctx context.Context, p Plan, m *manager.Manager) Tally {
	var all sync.WaitGroup
	tallies := make([]Tally, p.Workers) // each belongs to its goroutine until all have ended
	for i := range tallies {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := once(ctx, p, m, &tallies[i]); err != nil && ctx.Err() == nil {
					tallies[i].Add(Tally{Failures: 1, Failure: err.Error()})
					_ = interrupt.Sleep(ctx, afterFailure)
				}
			}
		})
	}
	all.Wait()
	var total Tally
	for _, t := range tallies {
		total.Add(t)
	}
	return total
}

// once is one acquisition.
func once(ctx context.Context, p Plan, m *manager.Manager, t *Tally) (err error) {
	key := rand.IntN(p.Keys)
	if p.NoLocks {
		return inside(file(p.Folder, key), p.Hold, t)
	}
	began := time.Now()
	lock, err := m.Acquire(ctx, Key(key), manager.WithDetachedHold())
	if err != nil {
		return err
	}
	t.LongestWait = max(t.LongestWait, time.Since(began))
	err = inside(file(p.Folder, key), p.Hold, t)
	if lock.Err() != nil {
		t.Losses++
		return err
	}
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseBound)
	defer cancel()
	return errors.Join(err, lock.Release(releasing))
}

// inside is what only one may do at a time.
func inside(path string, hold time.Duration, t *Tally) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // each holder its own, so that their locks meet
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // which frees the file's lock
	t.Grants++
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		t.Overlaps++
	case err != nil:
		return fmt.Errorf("the overlap detector: %w", err)
	}
	var counter [8]byte
	if _, err := f.ReadAt(counter[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if hold > 0 {
		<-time.After(hold)
	}
	binary.LittleEndian.PutUint64(counter[:], binary.LittleEndian.Uint64(counter[:])+1)
	_, err = f.WriteAt(counter[:], 0)
	return err
}
