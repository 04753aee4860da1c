package lockotel

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Option changes what [New] makes.
type Option func(*config)

type config struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	classOf    func(key string) string
	keys       bool
	leaderOf   []string
	attributes []attribute.KeyValue
}

// WithTracerProvider has spans made by tp. The default is the global provider.
func WithTracerProvider(tp trace.TracerProvider) Option { return func(c *config) { c.tracers = tp } }

// WithMeterProvider has metrics made by mp. The default is the global provider.
func WithMeterProvider(mp metric.MeterProvider) Option { return func(c *config) { c.meters = mp } }

// WithKeyClass names a class for each key, as "orders" for "orders/42", which is then an attribute of spans and of the metrics with a
// duration. There should be few classes: after the first 100 of an [Observer] each further one is [OtherClass]. An empty class is left out. Of a set
// of keys the class of the first by id counts.
//
// classOf is called for each acquisition and each hold, by the goroutine that tells the observer.
func WithKeyClass(classOf func(key string) string) Option {
	return func(c *config) { c.classOf = classOf }
}

// WithKeyOnSpans puts the key itself, and its number at the server, on each span. No metric has them.
func WithKeyOnSpans() Option { return func(c *config) { c.keys = true } }

// WithAttributes puts attributes on all spans and metrics of this observer, for example to tell two databases apart.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return func(c *config) { c.attributes = append(c.attributes, attrs...) }
}

// WithLeader has [Observer.Watch] report whether this process leads, for each of the keys given to Elect. The metric has the
// key as an attribute.
func WithLeader(keys ...string) Option {
	return func(c *config) {
		for _, key := range keys {
			if !slices.Contains(c.leaderOf, key) { // else it would count twice
				c.leaderOf = append(c.leaderOf, key)
			}
		}
	}
}
