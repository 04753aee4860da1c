package hashing

import "strconv"

// namespaceLead opens the encoding of a namespaced name. It is the ASCII unit
// separator: practically no plain name begins with it, yet unlike NUL or 0xff
// it is legal in a PostgreSQL text, so that SQL can write the encoding too.
const namespaceLead = "\x1f"

// Namespaced returns f with every name put into a namespace: the same name in
// two namespaces is two locks, and no two (namespace, name) pairs are given the
// same bytes to hash, so ("a", "bc") is not ("ab", "c"). With an empty
// namespace the result is f itself and names are hashed as they are.
//
// What f is given is a unit separator (0x1f), the length of the namespace in
// bytes as a decimal number, a colon, the namespace and the name. Only a name
// without a namespace that spells out such a prefix itself can meet a
// namespaced one. With [Postgres] as f, SQL computes the same id by
//
//	hashtextextended(chr(31) || octet_length(ns) || ':' || ns || name, 0)
//
// A nil f means [FNV1a]. The result is as safe for concurrent use as f is. It
// joins two strings for each name, which allocates; [NamespacedFNV1a] (and so a
// nil f) does not.
func Namespaced(namespace string, f Func) Func {
	if f == nil {
		return NamespacedFNV1a(namespace)
	}
	if namespace == "" {
		return f
	}
	prefix := namespacePrefix(namespace)
	return func(name string) int64 { return f(prefix + name) }
}

// NamespacedFNV1a is Namespaced(namespace, FNV1a) with the namespace hashed once
// and for all: a name costs its own bytes only, and nothing is allocated.
func NamespacedFNV1a(namespace string) Func {
	if namespace == "" {
		return FNV1a
	}
	// FNV-1a's state after a prefix is all that the rest of the input needs.
	state := fnv1aFrom(fnvOffset64, namespacePrefix(namespace))
	return func(name string) int64 { return int64(fnv1aFrom(state, name)) }
}

// namespacePrefix carries the length so that the end of the namespace is known
// before it is read: no byte needs to be forbidden or escaped in either part.
func namespacePrefix(namespace string) string {
	return namespaceLead + strconv.Itoa(len(namespace)) + ":" + namespace
}
