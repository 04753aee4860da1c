package hashing_test

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/lockkeeper/lockkeeper/hashing"
)

func ExampleFNV1a() {
	fmt.Println(hashing.FNV1a("orders/42"))
	fmt.Println(hashing.FNV1a("orders/43"))
	// Output:
	// -6475162556055330337
	// -6475163655566958548
}

// Two services that share a database can use the same names.
func ExampleNamespaced() {
	billing := hashing.Namespaced("billing", hashing.FNV1a)
	shipping := hashing.Namespaced("shipping", hashing.FNV1a)
	fmt.Println(billing("orders/42") == shipping("orders/42"))

	// The end of the namespace is never in doubt.
	a, ab := hashing.NamespacedFNV1a("a"), hashing.NamespacedFNV1a("ab")
	fmt.Println(a("bc") == ab("c"))
	// Output:
	// false
	// false
}

// Names that users choose are hashed under a secret that they do not know.
func ExampleKeyed() {
	secret := make([]byte, 32)
	rand.Read(secret) // A real program loads one secret that all its processes share.

	hash, err := hashing.Keyed(secret)
	if err != nil {
		fmt.Println(err)
		return
	}
	here, there := hash("upload:report.pdf"), hash("upload:report.pdf")
	fmt.Println(here == there)

	_, err = hashing.Keyed([]byte("too short"))
	fmt.Println(errors.Is(err, hashing.ErrShortSecret), err)
	// Output:
	// true
	// true hashing: secret too short: 9 bytes, need at least 16
}

// The same lock from psql:
//
//	SELECT pg_try_advisory_lock(hashtextextended('orders/42', 0));
func ExamplePostgres() {
	fmt.Println(hashing.Postgres("orders/42"))
	// Output: -5097415481565640018
}

// The same lock from psql:
//
//	SELECT pg_try_advisory_lock(hashtextextended(
//	    chr(31) || octet_length('tenant-7') || ':' || 'tenant-7' || 'orders/42', 0));
func ExampleNamespaced_postgres() {
	tenant := hashing.Namespaced("tenant-7", hashing.Postgres)
	fmt.Println(tenant("orders/42"))
	// Output: -6305395856906523310
}

// A deploy that puts all locks into a namespace: the program in between has the
// ids of both, and is given to manager.WithHashes.
func ExampleBoth() {
	ids := hashing.Both(hashing.FNV1a, hashing.Namespaced("billing", hashing.FNV1a))
	fmt.Println(ids.Old("orders/42"))
	fmt.Println(ids.New("orders/42"))
	// Output:
	// -6475162556055330337
	// 4692758829518402702
}

// A Func of one's own: any pure function of the name. This one keeps numbers
// below 2^31 as they are, for a program that already locks such ids.
func ExampleFunc() {
	var hash hashing.Func = func(name string) int64 {
		var id int32
		if _, err := fmt.Sscanf(name, "legacy/%d", &id); err == nil {
			return int64(id)
		}
		return hashing.FNV1a(name)
	}
	fmt.Println(hash("legacy/4711"))
	fmt.Println(hash("orders/42"))
	// Output:
	// 4711
	// -6475162556055330337
}
