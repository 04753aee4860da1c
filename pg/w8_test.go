package pg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"
)

var errSealed = errors.New("the vault is sealed")

type vaultError struct{ err error }

func (e *vaultError) Error() string { return "vault: " + e.err.Error() }
func (e *vaultError) Unwrap() error { return e.err }

// What a function of the user's returns is in text and chain, the password masked.
func TestW8_ErrorsOfTheUsersFunctions(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	all := maps.Clone(hooked)
	maps.Copy(all, poolHooks)
	for name, source := range all {
		t.Run(name, func(t *testing.T) {
			fail := fmt.Errorf("with %s: %w", d.Password(), &vaultError{errors.Join(errSealed, context.DeadlineExceeded)})
			_, err := newTestConnector(t, source(t, d.tcpDSN(), func() error { return fail }), Config{}).probe(within(t))
			if err == nil {
				t.Fatal("opened")
			}
			vault, ok := asType[*vaultError](err)
			if !errors.Is(err, errSealed) || !ok || vault.err == nil || !strings.Contains(err.Error(), "vault: the vault is sealed") {
				t.Errorf("text or chain: %v", err)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("W13: it is not the caller's context that has ended: %v", err)
			}
			var shown func(err error)
			shown = func(err error) {
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err.Error()), d.Password()) &&
					!strings.HasPrefix(name, "database/sql") { // a sql.DB does not tell what its password is
					t.Errorf("the password: %v", err)
				}
				if several, ok := err.(interface{ Unwrap() []error }); ok {
					for _, inner := range several.Unwrap() {
						shown(inner)
					}
				}
			}
			shown(err)
		})
	}
}

func TestW8_AClosedPool(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	pool, err := pgxpool.New(within(t), d.dsn())
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	source, err := FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newTestConnector(t, source, Config{}).probe(within(t))
	if !errors.Is(err, puddle.ErrClosedPool) || !strings.Contains(err.Error(), "closed pool") {
		t.Errorf("%v", err)
	}
}
