package hashing

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MinSecretLen is the shortest secret that [Keyed] takes, in bytes. 128 random
// bits cannot be searched, and anything shorter is more likely a mistake (an
// empty environment variable, a PIN) than a decision.
const MinSecretLen = 16

// ErrShortSecret says that a secret has fewer than [MinSecretLen] bytes.
var ErrShortSecret = errors.New("hashing: secret too short")

// Keyed returns a hash for names that come from strangers: HMAC-SHA-256 of the
// name under secret, its first 8 bytes read as a big-endian integer. Without
// the secret nobody can compute ids or prepare names that collide.
//
// The secret is copied: the caller may wipe or reuse its slice. All processes
// that are to exclude each other need the same secret, and a new secret means
// new ids for all names (see the package documentation on changing the
// function). Take the secret from crypto/rand; its length, not its quality, is
// all that can be checked here, and a short one gives an error that wraps
// [ErrShortSecret]. No error contains any of the secret.
//
// The result is safe for concurrent use. It costs more than [FNV1a], about a
// microsecond and seven allocations for a short name, which is still little
// beside the round trip of a lock; a caller that takes one lock over and over
// does well to keep the id.
func Keyed(secret []byte) (Func, error) {
	if len(secret) < MinSecretLen {
		return nil, fmt.Errorf("%w: %d bytes, need at least %d", ErrShortSecret, len(secret), MinSecretLen)
	}
	secret = bytes.Clone(secret)
	return func(name string) int64 {
		// A hash.Hash has state, so sharing one would need a lock around it.
		mac := hmac.New(sha256.New, secret)
		_, _ = io.WriteString(mac, name) // hash.Hash promises never to fail.
		var sum [sha256.Size]byte
		return int64(binary.BigEndian.Uint64(mac.Sum(sum[:0])))
	}, nil
}
