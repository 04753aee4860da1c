package live

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve starts a server that is closed with the test, unless close is called before.
func serve(t *testing.T, keep map[string]int) (s *Server, closeServer func()) {
	t.Helper()
	address, err := ParseAddress("auto")
	check(t, err)
	s, err = Listen(t.Context(), address, "run", keep)
	check(t, err)
	closed := false
	closeServer = func() {
		if !closed {
			closed = true
			check(t, s.Close())
		}
	}
	t.Cleanup(closeServer)
	return s, closeServer
}

// request asks by a connection of its own.
func request(t *testing.T, s *Server, method, path string, change func(*http.Request)) *http.Response {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, http.NoBody)
	check(t, err)
	if change != nil {
		change(r)
	}
	answer, err := transport.RoundTrip(r)
	check(t, err)
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func read(t *testing.T, answer *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(answer.Body)
	check(t, err)
	return string(body)
}

func TestThePageAndItsScripts(t *testing.T) {
	s, _ := serve(t, nil)
	for path, want := range map[string][2]string{
		"":          {"text/html; charset=utf-8", `<script type="module" src="live.js">`},
		"live.js":   {"text/javascript; charset=utf-8", "new EventSource('events')"},
		"charts.js": {"text/javascript; charset=utf-8", "export class Chart"},
	} {
		answer := request(t, s, "GET", path, nil)
		body := read(t, answer)
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != want[0] || !strings.Contains(body, want[1]) {
			t.Errorf("/%s: %s %v\n%s", path, answer.Status, answer.Header, body)
		}
		for _, foreign := range []string{"http://", "https://", "url("} {
			if strings.Contains(body, foreign) {
				t.Errorf("/%s has %q: the page must load nothing from elsewhere", path, foreign)
			}
		}
	}
	if answer := request(t, s, "GET", "other", nil); answer.StatusCode != http.StatusNotFound {
		t.Errorf("another path: %s", answer.Status)
	}
	if answer := request(t, s, "POST", "", nil); answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST: %s", answer.Status)
	}
}

func TestNothingIsCachedNorReadByOthers(t *testing.T) {
	s, _ := serve(t, nil)
	for _, path := range []string{"", "live.js", "events", "other"} {
		answer := request(t, s, "HEAD", path, nil)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy": "no-referrer", "Content-Security-Policy": policy, "Access-Control-Allow-Origin": "",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("/%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestForeignNamesAreRefused(t *testing.T) {
	s, _ := serve(t, nil)
	for _, path := range []string{"", "live.js", "events"} {
		answer := request(t, s, "GET", path, func(r *http.Request) { r.Host = "evil.example" })
		if body := read(t, answer); answer.StatusCode != http.StatusForbidden || !strings.Contains(body, s.URL()) {
			t.Errorf("/%s: %s %s", path, answer.Status, body)
		}
	}
	for site, want := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200, "": 200} {
		answer := request(t, s, "HEAD", "events", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", site) })
		if answer.StatusCode != want {
			t.Errorf("events for a page that is %q: %s, want %d", site, answer.Status, want)
		}
	}
}

// told reads one event.
func told(t *testing.T, lines *bufio.Scanner) (id, name, data string) {
	t.Helper()
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if name != "" {
				return id, name, data
			}
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return "", "", ""
}

func TestEventsAsTheyHappen(t *testing.T) {
	s, closeServer := serve(t, map[string]int{"sample": 9})
	s.Publish("run", map[string]string{"text": "two\nlines"})
	answer := request(t, s, "GET", "events", nil)
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("the type is %q", kind)
	}
	lines := bufio.NewScanner(answer.Body)
	if lines.Scan(); lines.Text() != "retry: 1000" {
		t.Errorf("it begins with %q", lines.Text())
	}
	if id, name, data := told(t, lines); id != "run.1" || name != "run" || data != `{"text":"two\nlines"}` {
		t.Errorf("told %s, %s, %s", id, name, data)
	}
	s.Publish("sample", 42)
	if id, name, data := told(t, lines); id != "run.2" || name != "sample" || data != "42" {
		t.Errorf("told %s, %s, %s", id, name, data)
	}
	s.Publish("sample", math.NaN()) // which JSON does not have
	if _, name, data := told(t, lines); name != "broken" || data != "null" {
		t.Errorf("told %s, %s", name, data)
	}
	// Who comes back is told what it missed, and who comes back from another run is told everything.
	for id, want := range map[string]string{"run.1": "run.2", "run.2": "run.3", "before.2": "run.1"} {
		again := request(t, s, "GET", "events", func(r *http.Request) { r.Header.Set("Last-Event-ID", id) })
		if got, _, _ := told(t, bufio.NewScanner(again.Body)); got != want {
			t.Errorf("after %s it was told %s, want %s", id, got, want)
		}
	}
	// The last event comes before the end of the stream.
	s.Publish("result", "over")
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		closeServer()
	}()
	for {
		if _, name, data := told(t, lines); name == "result" {
			if data != `"over"` {
				t.Errorf("the result is %s", data)
			}
			break
		}
	}
	for lines.Scan() {
		if lines.Text() != "" {
			t.Errorf("after the end: %q", lines.Text())
		}
	}
	check(t, lines.Err())
	<-finished
}

func TestTooManyBrowsers(t *testing.T) {
	s, _ := serve(t, nil)
	for range places {
		if answer := request(t, s, "GET", "events", nil); answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status)
		}
	}
	answer := request(t, s, "GET", "events", nil)
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %s %v", answer.Status, answer.Header)
	}
}

// A browser that reads nothing holds neither the run up nor its end. What it has not read is not kept for it.
func TestABrowserThatDoesNotRead(t *testing.T) {
	s, closeServer := serve(t, map[string]int{"sample": 10})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.address.String())
	check(t, err)
	defer conn.Close()
	check(t, conn.(*net.TCPConn).SetReadBuffer(1)) //nolint:forcetypeassert // dialled as tcp
	fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: %s\r\n\r\n", s.address)
	s.Publish("first", strings.Repeat("x", 8<<20)) // more than sockets hold
	other := bufio.NewScanner(request(t, s, "GET", "events", nil).Body)
	other.Buffer(make([]byte, 0, 9<<20), 9<<20)
	told(t, other)
	for i := range 1000 {
		s.Publish("sample", i)
	}
	for {
		if _, _, data := told(t, other); data == "999" {
			break
		}
	}
	began := time.Now()
	closeServer()
	if took := time.Since(began); took > closeBound+writeBound {
		t.Errorf("the end took %v", took)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	s, _ := serve(t, nil)
	_, err := Listen(t.Context(), s.address, "run", nil)
	if err == nil || !strings.Contains(err.Error(), "choose another port, or auto") {
		t.Errorf("the error is %v", err)
	}
}

// A browser that goes away gives its place back.
func TestABrowserThatGoes(t *testing.T) {
	s, _ := serve(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	answer := request(t, s, "GET", "events", func(r *http.Request) { *r = *r.WithContext(ctx) })
	s.Publish("sample", json.RawMessage("1"))
	told(t, bufio.NewScanner(answer.Body))
	for range places - 1 {
		v, _ := s.hub.join()
		defer s.hub.leave(v)
	}
	if _, admitted := s.hub.join(); admitted {
		t.Fatal("there is a place too many")
	}
	cancel()
	for ticker := time.NewTicker(5 * time.Millisecond); ; <-ticker.C {
		if v, admitted := s.hub.join(); admitted {
			s.hub.leave(v)
			return
		}
	}
}
