package pg

import (
	"testing"
	"time"
)

// A real server that refuses a setting still gets the rest, and keeps them: what a probe does meanwhile takes them not along when its
// transaction ends. (PostgreSQL on Windows refuses client_connection_check_interval. A name that is no UTF-8 is refused everywhere.)
func TestASettingThatARealServerRefuses(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := d.newRole(t, "limited_by_settings", "statement_timeout = '77s'")
	for kind, source := range map[string]Source{
		"direct":  sourceOf(t, dsn),
		"proxied": sourceOf(t, startBouncer(t, d, map[string]string{"pool_mode": "session", "server_reset_query": "DISCARD ALL"})),
	} {
		t.Run(kind, func(t *testing.T) {
			refused := make(map[string]bool)
			connector, first := probed(t, source, Config{ApplicationName: "\xff", Event: func(e Event) { refused[e.Cause[:16]] = true }})
			for which, conn := range map[string]*connection{"first": first, "second": another(t, connector)} {
				for name, want := range map[string]string{"statement_timeout": "0", "lock_timeout": "800ms", "plan_cache_mode": "force_generic_plan"} {
					if got := conn.ask(t, "SHOW "+name)[0][0]; got != want {
						t.Errorf("%s of the %s session is %s", name, which, got)
					}
				}
				if got := conn.ask(t, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")[0][0]; got != "0" {
					t.Errorf("the %s session has %s locks", which, got)
				}
			}
			if !refused["application_name"] {
				t.Errorf("refused: %v", refused)
			}
		})
	}
}

// current_setting says a time in the largest unit that fits.
func TestReadingsAreInTheUnitOfTheSetting(t *testing.T) {
	for _, c := range []struct {
		unit       time.Duration
		text, want string
	}{
		{time.Millisecond, "14s", "14000"}, {time.Millisecond, "1500ms", "1500"}, {time.Millisecond, "2min", "120000"},
		{time.Millisecond, "1h", "3600000"}, {time.Millisecond, "24d", "2073600000"}, {time.Millisecond, "0", "0"},
		{time.Millisecond, "-1", "-1"}, {time.Millisecond, "7001", "7001"}, {time.Millisecond, "", ""},
		{time.Millisecond, "a week", "a week"}, {time.Second, "2min", "120"}, {time.Second, "7", "7"},
		{0, "off", "off"}, {0, "3", "3"}, {0, "14s", "14s"},
	} {
		if got := (setting{unit: c.unit}).inUnit(c.text); got != c.want {
			t.Errorf("%q in %v: %q, should be %q", c.text, c.unit, got, c.want)
		}
	}
}
