//go:build unix

package main

import (
	"strings"
	"testing"
)

// A mistake on the command line costs no server and says what is right.
func TestUsageErrors(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	tests := []struct {
		args string
		want string
	}{
		{"load --processes 0", "--processes is 0: it must be between 1 and 1000"},
		{"load --processes -1", "--processes is -1"},
		{"load --processes many", "invalid argument"},
		{"load --workers 0", "--workers is 0"},
		{"load --workers 99999999", "--workers is 99999999"},
		{"load --keys -3", "--keys is -3"},
		{"load --skew poisson", `--skew is "poisson": it must be uniform or zipf`},
		{"load --wait forever", `--wait is "forever": it must be hints or queue`},
		{"load --hold -1ms", "--hold is -1ms"},
		{"load --hold 5", "missing unit"},
		{"load --duration 0s", "--duration is 0s"},
		{"load --duration -1s", "--duration is -1s"},
		{"load --cancel 1.01", "--cancel is 1.01: it must be between 0 (none) and 1 (all)"},
		{"load --cancel -0.1", "--cancel is -0.1"},
		{"load --cancel NaN", "--cancel is NaN"},
		{"load --readers 1.01", "--readers is 1.01: it must be between 0 (none) and 1 (all)"},
		{"load --readers -0.1", "--readers is -0.1"},
		{"load --readers NaN", "--readers is NaN"},
		{"load --sessions 1", "--sessions is 1"},
		{"load --sessions 0", "--sessions is 0"},
		{"load --dsn=", "--dsn is empty"},
		{"load --ui=", "its port is no number"},
		{"load --ui on", `--ui is "on": its port is no number`},
		{"load --ui example.org:80", "its host is no IP address; it must be a port such as 8080"},
		{"load --ui-keep 1h", "--ui-keep is for the page of --ui"},
		{"load --ui auto --ui-keep -1s", "--ui-keep is -1s"},
		{"load --nonsense", "unknown flag: --nonsense"},
		{"load postgres://u:" + secret + "@h/db", "goes after --dsn"},
		{"postgres://u:" + secret + "@h/db", "goes after --dsn"},
		{"load more", `takes no arguments, and was given "more"`},
		{"laod", `unknown command "laod"; did you mean "load"?`},
		{"storm --waiters 0", "--waiters is 0"},
		{"storm --keys 0", "--keys is 0"},
		{"storm --bound 0s", "--bound is 0s"},
		{"storm --bound 1h", "--bound is 1h0m0s"},
		{"storm --dsn=", "--dsn is empty"},
		{"fence --duration 0s", "--duration is 0s"},
		{"fence --dsn=", "--dsn is empty"},
		{"server --dsn x", "unknown flag: --dsn"},
		{"version extra", "takes no arguments"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			p := start(t, strings.Fields(tt.args)...)
			status := p.wait()
			text := p.stderr.String()
			contains(t, text, "Error: ", tt.want, "--help'.")
			if status != 2 {
				t.Errorf("the exit status is %d, want 2", status)
			}
			if strings.Contains(text, secret) {
				t.Errorf("a password is repeated: %s", text)
			}
			if p.stdout.String() != "" {
				t.Errorf("on standard output: %s", p.stdout)
			}
			p.mustBeClean(0)
		})
	}
}

func TestHelpTeaches(t *testing.T) {
	t.Parallel()
	for args, wanted := range map[string][]string{
		"--help":                  {"demo load", "demo storm", "Exit status", "130"},
		"":                        {"demo load", "Examples:"},
		"load --help":             {"Examples:", "--processes", "--workers", "--keys", "--skew", "--hold", "--duration", "--cancel", "--readers", "--ui", "--ui-keep", "--json", "--dsn", "DATABASE_URL", "throwaway"},
		"storm --help":            {"Examples:", "--waiters", "100000", "--bound", "--json"},
		"version":                 {"demo ", "go1."},
		"completion bash":         {"__start_demo"},
		"__complete load --skew ": {"uniform", "zipf"},
		"__complete load --wait ": {"hints", "queue"},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			split := strings.Fields(args)
			if strings.HasSuffix(args, " ") {
				split = append(split, "")
			}
			p := start(t, split...)
			if status := p.wait(); status != 0 {
				t.Errorf("the exit status is %d: %s", status, p.stderr)
			}
			contains(t, p.stdout.String(), wanted...)
			if strings.Contains(p.stdout.String(), "worker     ") {
				t.Error("the hidden command shows")
			}
		})
	}
}
