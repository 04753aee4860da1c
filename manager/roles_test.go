package manager_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// openAs is openOn for another role.
func openAs(t *testing.T, s *pgserver.Server, role string, opts ...manager.Option) *manager.Manager {
	t.Helper()
	config, err := pgx.ParseConfig(dsn(s))
	if err != nil {
		t.Fatal(err)
	}
	config.User = role
	source, err := manager.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return openFrom(t, s, source, opts...)
}

// A role without pg_read_all_stats does not see when another role's session began. It is told so, and not that the session has gone.
func TestSessionOfAnotherRole(t *testing.T) {
	s := server(t)
	query(t, s, "CREATE ROLE lk_holder LOGIN; CREATE ROLE lk_ender LOGIN")
	t.Cleanup(func() { query(t, s, "DROP ROLE lk_holder, lk_ender") })
	holder, ender := openAs(t, s, "lk_holder"), openAs(t, s, "lk_ender")
	query(t, s, "GRANT pg_signal_backend TO lk_ender")
	lock, own := acquire(t, holder, "k"), acquire(t, ender, "own")
	if h := lockOf(t, ender, own.ID()).Holders[0]; h.Since.IsZero() {
		t.Errorf("the role does not see its own session's beginning: %+v", h)
	}
	h := lockOf(t, ender, lock.ID()).Holders[0]
	if !h.Since.IsZero() || int(h.PID) != held(t, s)[lock.ID()] {
		t.Errorf("the holder is %+v", h)
	}
	wantIs(t, ender.Terminate(bounded(t), h), manager.ErrSessionHidden)
	wantHeld(t, lock)
	query(t, s, "GRANT pg_read_all_stats TO lk_ender")
	h = lockOf(t, ender, lock.ID()).Holders[0]
	if h.Since.IsZero() {
		t.Errorf("with pg_read_all_stats the holder is %+v", h)
	}
	if err := ender.Terminate(bounded(t), h); err != nil {
		t.Fatal(err)
	}
	wantLost(t, lock)
	release(t, own)
}
