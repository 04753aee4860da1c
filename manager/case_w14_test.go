package manager_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// W14. What happens to the role while the session lives changes nothing about its locks: they stay held over many health
// questions, and can be released.
func TestW14RoleOfALiveSession(t *testing.T) {
	s := server(t)
	for name, change := range map[string]string{
		"renamed":           "ALTER ROLE lk_vault RENAME TO lk_vault_2",
		"dropped":           "DROP ROLE lk_vault",
		"may not log in":    "ALTER ROLE lk_vault NOLOGIN",
		"lease is over":     "ALTER ROLE lk_vault VALID UNTIL '2000-01-01'",
		"no connections":    "ALTER ROLE lk_vault CONNECTION LIMIT 0",
		"other settings":    "ALTER ROLE lk_vault SET idle_session_timeout = '1ms'",
		"another password":  "ALTER ROLE lk_vault PASSWORD 'another'",
		"became superuser":  "ALTER ROLE lk_vault SUPERUSER",
		"renamed and taken": "ALTER ROLE lk_vault RENAME TO lk_vault_2; CREATE ROLE lk_vault LOGIN",
	} {
		t.Run(name, func(t *testing.T) {
			leakFree(t, s)
			query(t, s, "DROP ROLE IF EXISTS lk_vault, lk_vault_2")
			query(t, s, "CREATE ROLE lk_vault LOGIN")
			t.Cleanup(func() { query(t, s, "DROP ROLE IF EXISTS lk_vault, lk_vault_2") })
			if name == "other settings" {
				needSessionTimeout(t, s)
			}
			m := openAs(t, s, "lk_vault", manager.WithHealth(50*time.Millisecond, 5*time.Second))
			locks := []*manager.Lock{acquire(t, m, "shared"), acquire(t, m, "dedicated", manager.WithDedicatedSession())}
			where := held(t, s)
			query(t, s, change)
			for _, lock := range locks {
				lost := func() bool { return lock.Err() != nil }
				if !askedAgain(t, s, where[lock.ID()], 6, lost) || lost() {
					t.Errorf("%s: %v", lock.Key(), lock.Err())
				}
				if held(t, s)[lock.ID()] == 0 {
					t.Errorf("%s: the server has it no more", lock.Key())
				}
			}
			for _, lock := range locks {
				if err := lock.Release(bounded(t)); err != nil {
					t.Errorf("release %s: %v", lock.Key(), err)
				}
			}
		})
	}
}
