package lockotel_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
	lockotel "github.com/lockkeeper/lockkeeper/otel"
)

// An observer makes spans of acquisitions and holds: here on a server in memory, in a program by manager.Open.
func ExampleNew() {
	ctx := context.Background()
	server := locktest.NewServer()
	defer server.Close()
	recorder := tracetest.NewSpanRecorder() // in place of an exporter
	o, err := lockotel.New(
		lockotel.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))),
		lockotel.WithKeyClass(func(key string) string { return strings.SplitN(key, "/", 2)[0] }),
	)
	if err != nil {
		log.Fatal(err)
	}
	m, err := server.Open(ctx, manager.WithObserver(o))
	if err != nil {
		log.Fatal(err)
	}
	stop, err := o.Watch(m)
	if err != nil {
		log.Fatal(err)
	}
	err = m.Do(ctx, "orders/42", func(context.Context) error { return nil })
	fmt.Println(err)
	if err := stop(); err != nil {
		log.Fatal(err)
	}
	if err := m.Close(ctx); err != nil { // waits until the observer has been told of all
		log.Fatal(err)
	}
	for _, span := range recorder.Ended() {
		fmt.Println(span.Name())
	}
	// Output:
	// <nil>
	// lockkeeper acquire
	// lockkeeper hold
}
