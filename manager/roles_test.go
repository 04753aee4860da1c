package manager_test

import (
	"context"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// openAs is openOn for a new role, which may log in and no more.
func openAs(t *testing.T, s *pgserver.Server, role string) *manager.Manager {
	t.Helper()
	query(t, s, "CREATE ROLE "+role+" LOGIN PASSWORD 'right'")
	t.Cleanup(func() { query(t, s, "DROP ROLE "+role) })
	to := "postgres://" + role + ":right@" + s.TCPAddr() + "/" + pgserver.Database + "?sslmode=disable&application_name=lk%20test"
	return opened(t, s, func(ctx context.Context) (*manager.Manager, error) { return manager.Open(ctx, to) })
}

// A role without pg_read_all_stats does not see when another role's session began. It is told so, and not that the session has gone.
func TestSessionOfAnotherRole(t *testing.T) {
	s := server(t)
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
