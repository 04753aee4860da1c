package pgbench

import (
	"context"
	"errors"
	"time"
)

// Switch tells how costly a switch between processes is: the rates of the smallest statement with one client and with many,
// in transactions per second. With one client, the server's process and the client wait for each other. With many, the
// processors go from one of the server's processes to the next after each statement.
type Switch struct {
	One  float64 `json:"tps_1"`
	Many float64 `json:"tps_50"`
}

// SwitchClients is the number of clients in Switch.Many: the connections of the systems that hold one for each lock.
const SwitchClients = 50

// Ratio returns the rate of many clients to that of one, or 0 where nothing was measured. It falls when switches are
// costly.
func (s Switch) Ratio() float64 {
	if s.One <= 0 {
		return 0
	}
	return s.Many / s.One
}

// longest is the time after which a machine is too busy to be measured.
const longest = 30 * time.Second

// MeasureSwitch measures for a second each. The error wraps ErrMissing where there is no pgbench.
func MeasureSwitch(ctx context.Context, dsn string) (Switch, error) {
	program, err := Find(ctx)
	if err != nil {
		return Switch{}, err
	}
	l := Load{Script: "SELECT 1;\n", Clients: 1, Duration: time.Second}
	one, err := Run(ctx, program, dsn, l)
	if err != nil {
		return Switch{}, err
	}
	l.Clients = SwitchClients
	many, err := Run(ctx, program, dsn, l)
	for ; errors.Is(err, errNoneFinished) && l.Duration < longest; l.Duration *= 2 { // a busy machine has yet to connect so many
		many, err = Run(ctx, program, dsn, l)
	}
	return Switch{One: one.PerSecond, Many: many.PerSecond}, err
}
