package hashing

// A Func computes the lock id of a name.
//
// It must be a pure function of the bytes of name (same name, same id, in every
// process and every run), must be safe for concurrent use, must accept any
// string and must not block: it runs in the goroutine that asks for the lock.
type Func func(name string) int64

const (
	fnvOffset64 uint64 = 0xcbf29ce484222325
	fnvPrime64  uint64 = 0x100000001b3
)

// FNV1a is the 64-bit FNV-1a hash of the bytes of name, as the two's complement
// int64 of the same bits, since PostgreSQL's bigint is signed. It equals
// hash/fnv's New64a. It allocates nothing and is safe for concurrent use.
//
// FNV-1a protects against nobody: see [Keyed]. The last bytes of a name hardly
// reach the topmost bits of its id, so that names which count upwards (orders/1,
// orders/2) cluster there. The ids differ all the same; but where ids are to be
// divided into buckets, take the low bits, which are spread evenly.
func FNV1a(name string) int64 {
	return int64(fnv1aFrom(fnvOffset64, name))
}

// fnv1aFrom goes on from state over the bytes of s. hash/fnv would do the same
// through an interface and a []byte, which costs an allocation for each name.
func fnv1aFrom(state uint64, s string) uint64 {
	for i := range len(s) {
		state ^= uint64(s[i])
		state *= fnvPrime64
	}
	return state
}
