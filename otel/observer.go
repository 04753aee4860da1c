package lockotel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/lockkeeper/lockkeeper/manager"
)

// scope names this package to OpenTelemetry.
const scope = "github.com/lockkeeper/lockkeeper/otel"

// The names of attributes.
const (
	errorType   = attribute.Key("error.type")
	kindKey     = attribute.Key("lockkeeper.kind")
	sourceKey   = attribute.Key("lockkeeper.grant.source")
	classKey    = attribute.Key("lockkeeper.key.class")
	keysKey     = attribute.Key("lockkeeper.keys")
	slotsKey    = attribute.Key("lockkeeper.slots")
	keyKey      = attribute.Key("lockkeeper.key")
	idKey       = attribute.Key("lockkeeper.id")
	causeKey    = attribute.Key("lockkeeper.loss.cause")
	stateKey    = attribute.Key("lockkeeper.session.state")
	limitKey    = attribute.Key("lockkeeper.limit")
	hintKey     = attribute.Key("lockkeeper.hint.kind")
	receiverKey = attribute.Key("lockkeeper.event.receiver")
	leaderKey   = attribute.Key("lockkeeper.leader.key")
)

// Observer tells OpenTelemetry of acquisitions and holds. Several managers may share one. Make one with [New].
type Observer struct {
	config  config
	classes classes
	tracer  trace.Tracer
	meter   metric.Meter

	acquire, hold metric.Float64Histogram
}

var _ manager.Observer = (*Observer)(nil)

// seconds are the bounds of both histograms, those of [manager.Stats]: from a grant within the process to a job of minutes.
var seconds = []float64{10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
	60, 300}

// New makes an observer, for [manager.WithObserver]. An error is the meter provider's.
func New(opts ...Option) (*Observer, error) {
	o := &Observer{config: config{tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider()}}
	for _, opt := range opts {
		opt(&o.config)
	}
	o.classes = classes{of: o.config.classOf, known: make(map[string]struct{})}
	o.tracer, o.meter = o.config.tracers.Tracer(scope), o.config.meters.Meter(scope)
	var err error
	if o.acquire, err = o.meter.Float64Histogram("lockkeeper.acquire.duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(seconds...),
		metric.WithDescription("How long calls that acquire a lock took, granted or not.")); err != nil {
		return nil, fmt.Errorf("lockotel: %w", err)
	}
	if o.hold, err = o.meter.Float64Histogram("lockkeeper.hold.duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(seconds...),
		metric.WithDescription("How long locks were held, from the grant to the end of the hold.")); err != nil {
		return nil, fmt.Errorf("lockotel: %w", err)
	}
	return o, nil
}

// Begin is called by the manager. It reads the caller's span from ctx.
func (o *Observer) Begin(ctx context.Context) any {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		return span
	}
	return nil
}

// Acquired is called by the manager. It makes the span of the acquisition, and counts how long that took.
func (o *Observer) Acquired(a *manager.Acquisition) {
	common := o.common(a)
	status := ""
	if a.Err != nil {
		status = reason(a.Err)
		common = append(common, errorType.String(status))
	} else {
		common = append(common, sourceKey.String(sourceOf(a)))
	}
	ctx, span := o.tracer.Start(parent(a), "lockkeeper acquire", trace.WithTimestamp(a.Begin), trace.WithAttributes(common...),
		trace.WithAttributes(o.details(a)...))
	if a.Err != nil && failed(status) {
		span.SetStatus(codes.Error, status) // the error's text has the key
	}
	span.End(trace.WithTimestamp(a.End))
	if a.Hold != nil {
		a.Hold.Data = span.SpanContext()
	}
	o.acquire.Record(ctx, a.End.Sub(a.Begin).Seconds(), metric.WithAttributes(common...))
}

// Ended is called by the manager. It makes the span of the hold, and counts how long that lasted.
func (o *Observer) Ended(h *manager.Hold) {
	common := o.common(h.Acquisition)
	status := endOf(h.Err)
	if status != "" {
		common = append(common, errorType.String(status))
	}
	opts := []trace.SpanStartOption{trace.WithTimestamp(h.Begin), trace.WithAttributes(common...), trace.WithAttributes(o.details(h.Acquisition)...)}
	if acquired, is := h.Data.(trace.SpanContext); is && acquired.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: acquired}))
	}
	ctx, span := o.tracer.Start(parent(h.Acquisition), "lockkeeper hold", opts...)
	if status == "lost" {
		span.SetStatus(codes.Error, status)
	}
	span.End(trace.WithTimestamp(h.End))
	o.hold.Record(ctx, h.End.Sub(h.Begin).Seconds(), metric.WithAttributes(common...))
}

// common are the attributes of spans and metrics alike.
func (o *Observer) common(a *manager.Acquisition) []attribute.KeyValue {
	all := append(make([]attribute.KeyValue, 0, 3+len(o.config.attributes)), o.config.attributes...)
	all = append(all, kindKey.String(kindOf(a)))
	if class := o.classes.name(a.Key); class != "" {
		all = append(all, classKey.String(class))
	}
	return all
}

// details are attributes of spans alone.
func (o *Observer) details(a *manager.Acquisition) (all []attribute.KeyValue) {
	if a.Keys > 1 {
		all = append(all, keysKey.Int(a.Keys))
	}
	if a.Slots > 0 {
		all = append(all, slotsKey.Int(a.Slots))
	}
	if o.config.keys {
		all = append(all, keyKey.String(valid(a.Key)), idKey.Int64(a.ID))
	}
	return all
}

// parent is a context with the caller's span alone: that of the call may be used for something else by now.
func parent(a *manager.Acquisition) context.Context {
	ctx := context.Background() //nolint:forbidigo // events have no context
	if span, is := a.About.(trace.SpanContext); is {
		return trace.ContextWithSpanContext(ctx, span)
	}
	return ctx
}

func kindOf(a *manager.Acquisition) string {
	switch {
	case a.Leads:
		return "leader"
	case a.Slots > 0:
		return "slot"
	case a.Keys > 1:
		return "set"
	case a.Shared:
		return "shared"
	}
	return "exclusive"
}

func sourceOf(a *manager.Acquisition) string {
	if a.Local {
		return "local"
	}
	return "server"
}
