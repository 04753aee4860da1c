// Package stats has the arithmetic of the harness: percentiles, medians, ratios and fairness.
package stats
