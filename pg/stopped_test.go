package pg

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// beStopped is the process of TestAStoppedProcessFindsItsTrustPassed: it holds a lock and notes when it last believed in it.
func beStopped(args []string) error {
	t := &helperProcess{}
	config := short()
	config.SessionTimeout = 2 * config.Trust()
	p, err := Open(within(t), sourceOf(t, args[0]), config)
	if err != nil {
		t.Fatal(err)
	}
	c := newCaller(7)
	s := c.take(t, p)
	fmt.Println("held")
	for believed := int64(0); ; {
		now := time.Now()
		if now.Before(s.TrustedUntil()) {
			believed = now.UnixNano()
		}
		select {
		case l := <-c.losses:
			fmt.Printf("believed %d %q\n", believed, string(causeOf(t, l.err)))
			closePool(t, p)
			return nil
		default:
		}
	}
}

// helperProcess lets a process that runs no test use the tests' helpers: what fails ends it.
type helperProcess struct{ testing.TB }

func (*helperProcess) Helper()        {}
func (*helperProcess) Cleanup(func()) {}

func (*helperProcess) Fatal(args ...any) {
	fmt.Println(args...)
	os.Exit(1)
}

func (p *helperProcess) Fatalf(format string, args ...any) { p.Fatal(fmt.Sprintf(format, args...)) }
func (p *helperProcess) Error(args ...any)                 { p.Fatal(args...) }
func (p *helperProcess) Errorf(format string, args ...any) { p.Fatalf(format, args...) }
