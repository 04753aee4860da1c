// Package stats has the arithmetic of the harness: medians, ratios and fairness.
package stats
