package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// The server does not tell everybody when another role's session began, and from where.
func TestWhatTheServerHidesIsSaidToBeHidden(t *testing.T) {
	s := manager.LockSession{PID: 7, ApplicationName: "app"}
	row := rowsOf([]manager.LockInfo{{ID: 1, Holders: []manager.LockSession{s}}}, true)[1]
	if row[6] != hidden || row[7] != hidden {
		t.Errorf("the row is %q", row)
	}
	if text := heldBy(s); strings.Contains(text, "0001") || !strings.Contains(text, hidden) {
		t.Error(text)
	}
	raw, err := json.Marshal(sessionsOf([]manager.LockSession{s}))
	if err != nil || !strings.Contains(string(raw), `"session_since":null`) {
		t.Errorf("%s %v", raw, err)
	}
	if err := (&termination{}).end(t.Context(), nil, nil, s, 1); !errors.Is(err, manager.ErrSessionHidden) || !strings.Contains(err.Error(), "pid 7") {
		t.Errorf("terminate: %v", err)
	}
}
