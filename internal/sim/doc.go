// Package sim explores what a system does when everything that can happen to it happens, in any order, and shortens what
// it finds. It is for tests.
//
// # A history
//
// A history is a list of steps, and a step is a list of choices: who does something next, what is done, and what comes of
// it. A system under simulation takes every decision from a [Source] and none from anywhere else, and has a clock of its
// own, so that one history is one run. [Explore] makes histories from a seed; a history that breaks a rule is made as short
// as can be by leaving out steps and making choices smaller, and is told together with the seed that made it.
//
// Choice 0 should be the dullest one: shortening goes towards it.
//
// # What is simulated
//
// The tests of this package have two systems. The keepers' (keepers_*_test.go): directories, keepers and supervisors of
// several processes on one fake store, hundreds of steps a millisecond. And the whole stack (stack_*_test.go): managers
// with all that is below them, talking PostgreSQL's protocol to a fake server over a fake network.
package sim
