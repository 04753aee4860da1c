// Package commandline is what this project's programs have in common. It knows their library for flags by the methods of its errors alone, so
// that the library's module does not depend on it.
package commandline

import (
	"errors"
	"runtime/debug"
	"strings"
)

// Version is what the Go tool stamped into the program: a release's number, or that of the commit that it was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "development"
}

// MayHoldPassword reports whether a part of a command line may be a connection string, which is not to be repeated.
func MayHoldPassword(text string) bool { return strings.ContainsAny(text, ":=@/") }

// Given is the part of the command line that an error of pflag's tells of; empty where it tells of none.
func Given(err error) string {
	var (
		value interface{ GetValue() string }
		flag  interface{ GetSpecifiedFlag() string }
		name  interface {
			GetSpecifiedName() string
			GetSpecifiedShortnames() string
		}
	)
	switch {
	case errors.As(err, &value):
		return value.GetValue()
	case errors.As(err, &name):
		return name.GetSpecifiedName() + name.GetSpecifiedShortnames()
	case errors.As(err, &flag):
		return flag.GetSpecifiedFlag()
	}
	return ""
}
