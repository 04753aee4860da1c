package systems

import (
	"errors"
	"testing"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestWhatPgbenchSays(t *testing.T) {
	said := `transaction type: x.sql
number of transactions actually processed: 2000
latency average = 0.5 ms
initial connection time = 3 ms
tps = 1234.5 (without initial connection time)
`
	if rate, count, err := readPgbench(said); err != nil || rate != 1234.5 || count != 2000 {
		t.Errorf("got %v, %v, %v", rate, count, err)
	}
	for _, bad := range []string{"", "number of transactions actually processed: 0\n", "tps = 3\n"} {
		if rate, count, err := readPgbench(bad); err == nil {
			t.Errorf("%q was read as %v, %v", bad, rate, count)
		}
	}
}

func TestSwitchCost(t *testing.T) {
	server, database := pgtest.NewDatabase(t)
	s, err := switchCost(t.Context(), server.DSNOf(database))
	if errors.Is(err, errNoPgbench) {
		t.Skip(err)
	}
	if err != nil || s.One <= 0 || s.Many <= 0 || s.Ratio() != s.Many/s.One {
		t.Errorf("got %+v with ratio %v, %v", s, s.Ratio(), err)
	}
	if r := (harness.SwitchCost{}).Ratio(); r != 0 {
		t.Errorf("nothing was measured, and the ratio is %v", r)
	}
}

func TestWithoutPgbenchTheReasonIsSaid(t *testing.T) {
	t.Setenv(pgserver.EnvBin, t.TempDir())
	t.Setenv("PATH", t.TempDir())
	if _, err := switchCost(t.Context(), ""); !errors.Is(err, errNoPgbench) {
		t.Errorf("got %v", err)
	}
}
