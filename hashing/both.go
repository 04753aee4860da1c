package hashing

// Pair is two functions whose ids are locked together: see [Both].
type Pair struct{ Old, New Func }

// Both is for the program that is deployed between one that uses old and one
// that uses latest. A manager that is given the pair (manager.WithHashes) locks
// the ids of both functions for each name, and so excludes either program. That
// is how the function, the namespace or the secret is changed while programs
// run: see "Changing the function" in the package documentation.
//
// A nil function means [FNV1a]. Where both functions give a name the same id,
// it has one lock. The id that a manager shows for a key is old's.
func Both(old, latest Func) Pair {
	return Pair{Old: Namespaced("", old), New: Namespaced("", latest)}
}
