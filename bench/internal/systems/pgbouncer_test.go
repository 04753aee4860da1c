package systems

import (
	"errors"
	"os"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// Both modes are one PgBouncer's before one database: a lock that is held in one mode is another's in the other.
func TestBothModesOfOnePgBouncer(t *testing.T) {
	systems := poolers()
	s, err := systems[0].Server.Start(t.Context())
	if errors.Is(err, pgserver.ErrNoPgBouncer) && os.Getenv("CI") != "true" {
		t.Skip("this test needs PgBouncer: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if systems[1].Server != systems[0].Server {
		t.Error("the modes have servers of their own")
	}
	for _, through := range []string{"", s.TCP} {
		for _, system := range systems {
			client, err := system.Open(t.Context(), s.Env(through))
			if err != nil {
				t.Fatal(err)
			}
			held, err := client.Lock(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(held.Release(t.Context()), client.Close()); err != nil {
				t.Error(err)
			}
		}
	}
}
