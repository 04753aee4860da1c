// Package childtest lets a test start its own binary once more, as a process that plays a part: one that can be frozen and
// killed for real. The test hears from it by lines.
package childtest
