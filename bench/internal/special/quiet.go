package special

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

const (
	quietFor   = 100 * time.Millisecond
	quietShare = 20 // of the time, in hundredths of a processor, that a process may work and still count as quiet
	quietBound = 10 * time.Second
)

// quiet waits until this process has next to nothing left to do: whoever was to wait waits. Systems whose waiters poll
// never come to rest, so it is bounded.
func quiet(ctx context.Context) error {
	for began, used := time.Now(), cpu(); time.Since(began) < quietBound; {
		if err := interrupt.Sleep(ctx, quietFor); err != nil {
			return err
		}
		more := cpu()
		if more-used < quietFor*quietShare/100 {
			return nil
		}
		used = more
	}
	return nil
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic("BUG: no resource usage: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// lines writes reports, and remembers the first failure.
type lines struct {
	out io.Writer
	err error
}

func (l *lines) write(r *report) {
	if err := json.NewEncoder(l.out).Encode(r); l.err == nil {
		l.err = err
	}
}
