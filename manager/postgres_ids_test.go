package manager_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/lockkeeper/lockkeeper/hashing"
)

// hashing.Postgres is the server's own hashtextextended, on random strings of up to 60 characters of any length in bytes: a
// million under LOCKKEEPER_STRESS.
func TestPostgresHashEqualsTheServer(t *testing.T) {
	const batch, longest = 10_000, 60
	all := 50_000
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		all = 1_000_000
	}
	conn := connect(t, server(t))
	random := rand.New(rand.NewPCG(13, 10))
	names := make([]string, batch)
	for range all / batch {
		for i := range names {
			runes := make([]rune, random.IntN(longest+1))
			for j := range runes {
				for runes[j] == 0 || runes[j] >= 0xD800 && runes[j] < 0xE000 { // no NUL, which PostgreSQL cannot store, and no surrogate
					runes[j] = rune(random.IntN([]int{0x80, 0x800, 0x10000, 0x110000}[random.IntN(4)]))
				}
			}
			names[i] = string(runes)
		}
		rows, err := conn.Query(bounded(t), "SELECT hashtextextended(s, 0) FROM unnest($1::text[]) WITH ORDINALITY AS t(s, n) ORDER BY n", names)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; rows.Next(); n++ {
			var want int64
			if err := rows.Scan(&want); err != nil {
				t.Fatal(err)
			}
			if got := hashing.Postgres(names[n]); got != want {
				t.Fatalf("Postgres(%q) = %d, the server says %d", names[n], got, want)
			}
		}
		if rows.Err() != nil || n != batch {
			t.Fatalf("%d rows of %d: %v", n, batch, rows.Err())
		}
	}
}
