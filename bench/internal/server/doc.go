// Package server has the servers that the systems under test need. Each is started once a run, is used by the systems in
// turn, and is gone at the end.
package server
