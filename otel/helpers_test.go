package lockotel_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
	lockotel "github.com/lockkeeper/lockkeeper/otel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a manager on a server in memory, whose observer reports to an exporter and a reader in memory.
type rig struct {
	*testing.T
	server   *locktest.Server
	m        *manager.Manager
	observer *lockotel.Observer
	tracers  *trace.TracerProvider
	spans    *tracetest.InMemoryExporter
	reader   *metric.ManualReader
	stop     func() error
}

// inBubble runs a test where time passes only when nothing else does: a duration is what the test slept.
func inBubble(t *testing.T, test func(r *rig), opts ...lockotel.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, server: locktest.NewServer(), spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
		r.tracers = trace.NewTracerProvider(trace.WithSyncer(r.spans))
		var err error
		if r.observer, err = lockotel.New(append([]lockotel.Option{lockotel.WithTracerProvider(r.tracers),
			lockotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(r.reader)))}, opts...)...); err != nil {
			t.Fatal(err)
		}
		if r.m, err = r.server.Open(t.Context(), manager.WithObserver(r.observer)); err != nil {
			t.Fatal(err)
		}
		if r.stop, err = r.observer.Watch(r.m); err != nil {
			t.Fatal(err)
		}
		test(r)
		if err := r.m.Close(t.Context()); err != nil {
			t.Error(err)
		}
		r.server.Close()
	})
}

func (r *rig) acquire(ctx context.Context, key string) *manager.Lock {
	r.Helper()
	lock, err := r.m.Acquire(ctx, key)
	if err != nil {
		r.Fatal(err)
	}
	return lock
}

func (r *rig) release(lock *manager.Lock) {
	r.Helper()
	if err := lock.Release(r.Context()); err != nil {
		r.Error(err)
	}
}

// ended are the spans of this name that have ended, in order. The observer was told by then: the bubble is idle.
func (r *rig) ended(name string) (found []tracetest.SpanStub) {
	synctest.Wait()
	for _, s := range r.spans.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// one is the only span of this name.
func (r *rig) one(name string) tracetest.SpanStub {
	r.Helper()
	found := r.ended(name)
	if len(found) != 1 {
		r.Fatalf("there are %d spans %q, should be 1", len(found), name)
	}
	return found[0]
}

// collect gives the metrics of now, by name.
func (r *rig) collect() map[string]metricdata.Metrics {
	r.Helper()
	synctest.Wait()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(r.Context(), &all); err != nil {
		r.Fatal(err)
	}
	found := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// points are the values of a metric, by their attributes in words. Of a histogram it is count and sum.
func points(m metricdata.Metrics) map[string]string {
	found := map[string]string{}
	numbers := func(all []metricdata.DataPoint[int64]) {
		for _, p := range all {
			found[words(p.Attributes.ToSlice())] = fmt.Sprint(p.Value)
		}
	}
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		numbers(d.DataPoints)
	case metricdata.Gauge[int64]:
		numbers(d.DataPoints)
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			found[words(p.Attributes.ToSlice())] = fmt.Sprintf("%d in %gs", p.Count, p.Sum)
		}
	}
	return found
}

// words are attributes as text, in the order of their names.
func words(attrs []attribute.KeyValue) (text string) {
	set := attribute.NewSet(attrs...)
	for _, a := range set.ToSlice() {
		if text != "" {
			text += " "
		}
		text += string(a.Key) + "=" + fmt.Sprint(a.Value.AsInterface())
	}
	return text
}
