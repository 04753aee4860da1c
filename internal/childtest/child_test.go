//go:build unix

package childtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Play(Parts{
		"echo": func(args []string) error {
			fmt.Println(args)
			for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
				fmt.Println(scanner.Text())
			}
			fmt.Println("over")
			return nil
		},
		"endless": func([]string) error {
			EndWithInput()
			fmt.Println("here")
			select {}
		},
		"fail": func([]string) error { return errors.New("as it was told") },
	})
	goleak.VerifyTestMain(m)
}

func TestChild(t *testing.T) {
	c := Start(t, "echo", "one", "two words")
	if got := c.Line(t); got != "[one two words]" {
		t.Errorf("its arguments are %s", got)
	}
	c.Say(t, "hello")
	if got := c.Line(t); got != "hello" {
		t.Errorf("it says %q", got)
	}
	c.Freeze(t)
	c.Say(t, "are you there?")
	if !c.Quiet() {
		t.Error("a frozen child speaks")
	}
	c.Wake(t)
	if got := c.Line(t); got != "are you there?" {
		t.Errorf("it says %q", got)
	}
	if rest := c.End(t); len(rest) != 1 || rest[0] != "over" {
		t.Errorf("at its end it says %q", rest)
	}
}

func TestEndWithInput(t *testing.T) {
	c := Start(t, "endless")
	if got := c.Line(t); got != "here" {
		t.Errorf("it says %q", got)
	}
	if rest := c.End(t); len(rest) != 0 {
		t.Errorf("at its end it says %q", rest)
	}
}

// failures notes what a test would be failed with.
type failures struct {
	testing.TB
	said []string
}

func (f *failures) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

func TestAPartThatFails(t *testing.T) {
	for _, part := range []string{"fail", "no such part"} {
		f := &failures{TB: t}
		Start(t, part).End(f)
		if len(f.said) != 1 {
			t.Errorf("%s: the failures are %q", part, f.said)
		}
	}
}

func TestAKilledChildHasEnded(t *testing.T) {
	c := Start(t, "endless")
	c.Line(t)
	c.Kill(t)
	f := &failures{TB: t}
	c.End(f)
	if len(f.said) != 1 {
		t.Errorf("the failures are %q", f.said)
	}
}
