package hashing

import "math/bits"

// Postgres is PostgreSQL's own hashtextextended(name, 0), computed here, so
// that SQL and every language that talks to the server can take the same lock:
//
//	SELECT pg_advisory_lock(hashtextextended('orders/42', 0))
//
// It allocates nothing and is safe for concurrent use. Four limits come from
// the other side of the bargain:
//
//   - A text of PostgreSQL holds neither NUL bytes nor, in a UTF8 database,
//     invalid UTF-8. Go names with such bytes have an id here as well, and Go
//     programs exclude each other under it, but no SQL expression can name that
//     lock: the server refuses the text. Beware of client libraries that end a
//     string at its first NUL: theirs is then the lock of the shorter name.
//   - The server hashes a text in the encoding of its database. Names beyond
//     ASCII need a database in UTF8 (what Go strings hold) to match.
//   - A nondeterministic collation makes the server hash a sort key instead of
//     the text. Databases never default to one; a column or an expression may
//     have one, and COLLATE "C" sets it right.
//   - A server on a big-endian machine (s390x) reads the text in other words
//     and gets other ids. Little-endian ones (x86-64, arm64) agree.
//
// hashtextextended exists since PostgreSQL 11. The server's manual does not
// list it, but hash-partitioned tables are laid out by it, so that it cannot
// change without moving rows that users have stored.
func Postgres(name string) int64 {
	return postgresHash(name, 0)
}

// PostgresSeed returns PostgreSQL's hashtextextended(name, seed): [Postgres] is
// seed 0. Another seed gives other ids for the same names, which is a cheap way
// for SQL to keep to itself; [Namespaced] does the same by a word. The limits
// of [Postgres] hold, and so does its safety for concurrent use.
func PostgresSeed(seed int64) Func {
	return func(name string) int64 { return postgresHash(name, seed) }
}

// postgresHash is PostgreSQL's hash_bytes_extended: Bob Jenkins' lookup3 of 2006
// with another start value, a seed mixed in as if it were a first block, the
// last byte of c left free in the tail, and two words of the state as the
// result. PostgreSQL measures length in an int; its texts end at 1 GB, long
// before the conversion below could lose a bit.
func postgresHash(s string, seed int64) int64 {
	a := 0x9e3779b9 + uint32(len(s)) + 3923095
	b, c := a, a
	if seed != 0 {
		a, b, c = lookup3Mix(a+uint32(uint64(seed)>>32), b+uint32(seed), c)
	}
	for ; len(s) >= 12; s = s[12:] {
		a, b, c = lookup3Mix(a+word(s[0:4]), b+word(s[4:8]), c+word(s[8:12]))
	}
	switch {
	case len(s) > 8:
		// The lowest byte of c stays free: lookup3 used to keep the length there.
		a, b, c = a+word(s[0:4]), b+word(s[4:8]), c+partialWord(s[8:])<<8
	case len(s) > 4:
		a, b = a+word(s[0:4]), b+partialWord(s[4:])
	default:
		a += partialWord(s)
	}
	b, c = lookup3Final(a, b, c)
	return int64(uint64(b)<<32 | uint64(c))
}

// word reads four bytes with the lowest first, on every machine.
func word(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// partialWord is word for at most four bytes; the missing ones are zero.
func partialWord(s string) uint32 {
	var w uint32
	for i := range len(s) {
		w |= uint32(s[i]) << (8 * i)
	}
	return w
}

func lookup3Mix(a, b, c uint32) (uint32, uint32, uint32) {
	a = (a - c) ^ bits.RotateLeft32(c, 4)
	c += b
	b = (b - a) ^ bits.RotateLeft32(a, 6)
	a += c
	c = (c - b) ^ bits.RotateLeft32(b, 8)
	b += a
	a = (a - c) ^ bits.RotateLeft32(c, 16)
	c += b
	b = (b - a) ^ bits.RotateLeft32(a, 19)
	a += c
	c = (c - b) ^ bits.RotateLeft32(b, 4)
	b += a
	return a, b, c
}

func lookup3Final(a, b, c uint32) (uint32, uint32) {
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	c = (c ^ b) - bits.RotateLeft32(b, 24)
	return b, c
}
