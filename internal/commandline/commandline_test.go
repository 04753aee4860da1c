package commandline_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/commandline"
)

type texted struct{}

func (texted) Error() string { return "an error" }

// The errors of pflag, by their methods.
type (
	invalidValueError  struct{ texted }
	notThereError      struct{ texted }
	invalidSyntaxError struct{ texted }
)

func (*invalidValueError) GetValue() string           { return "value" }
func (*notThereError) GetSpecifiedName() string       { return "name" }
func (*notThereError) GetSpecifiedShortnames() string { return "abc" }
func (*invalidSyntaxError) GetSpecifiedFlag() string  { return "flag" }

func TestGiven(t *testing.T) {
	for want, err := range map[string]error{"value": &invalidValueError{}, "nameabc": &notThereError{}, "flag": &invalidSyntaxError{}, "": errors.New("another")} {
		if got := commandline.Given(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%T: %q, want %q", err, got, want)
		}
	}
}

func TestMayHoldPassword(t *testing.T) {
	for text, want := range map[string]bool{"postgres://u:p@h/d": true, "password=p": true, "u@h": true, "deploy": false, "": false} {
		if got := commandline.MayHoldPassword(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestVersion(t *testing.T) {
	if commandline.Version() == "" {
		t.Error("there is none")
	}
}
