// Package baseline builds the harness with the library of another commit.
//
// Each measurement of the harness is a process of its own, so the two versions of the library need not be in one program.
// Build makes a second program from the harness's sources as they are now and the library as it was then:
//
//  1. The library's sources at the commit come from git archive, so the checkout may be dirty and is not touched. They go to
//     a cache folder that is named for the full commit hash.
//  2. Their module is renamed, from github.com/lockkeeper/lockkeeper to github.com/lockkeeper/lockkeeper-baseline. The helper
//     packages that the harness measures with are thus today's, and those of the library are its own.
//  3. A generated go.work adds that module. A build overlay changes one thing in the harness: the files that import the
//     library import the renamed one.
//
// The code that measures is therefore the same source in both programs, and processes that a scenario starts are of the same
// program as the one that starts them. All other modules have the same versions in both, unless the commit needs newer ones.
package baseline
