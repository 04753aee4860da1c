package pgbench

import (
	"errors"
	"os"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func TestWhatPgbenchSays(t *testing.T) {
	said := `transaction type: x.sql
number of transactions actually processed: 2000
latency average = 0.5 ms
initial connection time = 3 ms
tps = 1234.5 (without initial connection time)
`
	if r, err := read(said); err != nil || r != (Rate{PerSecond: 1234.5, Count: 2000}) {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, bad := range []string{"", "number of transactions actually processed: 0\n", "tps = 3\n"} {
		if r, err := read(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, r)
		}
	}
}

func TestSwitchCost(t *testing.T) {
	server, database := pgtest.NewDatabase(t)
	s, err := MeasureSwitch(t.Context(), server.DSNOf(database))
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	if err != nil || s.One <= 0 || s.Many <= 0 || s.Ratio() != s.Many/s.One {
		t.Errorf("got %+v with ratio %v, %v", s, s.Ratio(), err)
	}
	if r := (Switch{}).Ratio(); r != 0 {
		t.Errorf("nothing was measured, and the ratio is %v", r)
	}
}

func TestWithoutPgbenchTheReasonIsSaid(t *testing.T) {
	t.Setenv(pgserver.EnvBin, t.TempDir())
	t.Setenv("PATH", t.TempDir())
	if _, err := MeasureSwitch(t.Context(), ""); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
}
