// Package lockotel tells OpenTelemetry about Lockkeeper's locks: a span for each acquisition and each hold, and metrics.
//
//	o, err := lockotel.New()
//	m, err := manager.Open(ctx, dsn, manager.WithObserver(o))
//	stop, err := o.Watch(m)
//	defer stop()
//
// # Spans
//
// "lockkeeper acquire" is a call of Acquire or its like, "lockkeeper hold" is the time from the grant to the end of the hold. Both are children
// of the span in the context of the call, and the hold has a link to its acquisition. Both are made when they have ended: what runs under the
// lock is no child of the hold's span, and the hold of a process that is killed is never seen.
//
// # Metrics
//
// The page docs/telemetry.md of the repository lists them. Those with a duration come from [Observer]'s events, the others from
// [manager.Manager.Stats], by [Observer.Watch].
//
// # Keys
//
// A key is often an order's number or a user's name: as an attribute it would make a time series for each, and show what it should not. So no
// span and no metric has the key. [WithKeyClass] names classes of keys, and [WithKeyOnSpans] puts the key on spans.
package lockotel
