// Package lockprom gives Prometheus the figures of a manager of locks.
//
//	registry.MustRegister(lockprom.NewCollector(m, nil))
//
// The page docs/telemetry.md of the repository lists the metrics, and docs/dashboards there has a dashboard and alert rules that use them. No metric
// has a key as a label: keys are without number, and often private.
package lockprom
