package live

import (
	"bytes"
	_ "embed" // the page
	"net/http"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/page"
)

var (
	//go:embed page.html
	pageText string
	//go:embed live.js
	script []byte
	//go:embed charts.js
	charts []byte
)

// policy lets the page have its own scripts, styles and events, and nothing from elsewhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// handler serves the page, its scripts and the events.
func (s *Server) handler() http.Handler {
	var html bytes.Buffer
	if err := page.New(pageText, nil).Execute(&html, nil); err != nil {
		panic("BUG: the page is no template of its own: " + err.Error())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", text("text/html; charset=utf-8", html.Bytes()))
	mux.Handle("GET /live.js", text("text/javascript; charset=utf-8", script))
	mux.Handle("GET /charts.js", text("text/javascript; charset=utf-8", charts))
	mux.HandleFunc("GET /events", s.events)
	return s.guard(mux)
}

// guard refuses requests that a page of another site brought about, and says on each answer what a browser may do with it.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		if !s.address.admits(r.Host) {
			http.Error(w, "This server is reached by its IP address, or as localhost: open "+s.URL(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func text(kind string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeBound)) // of a real connection it never fails
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(content) // a browser that has gone needs no page
	})
}

// events sends what was published, and what is published, until the run is over or the browser has gone. A browser that comes back names
// the last event that it has.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		http.Error(w, "Another site has no business here.", http.StatusForbidden)
		return
	}
	viewer, admitted := s.hub.join()
	if !admitted {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "Too many browsers watch already, or the run is over.", http.StatusServiceUnavailable)
		return
	}
	defer s.hub.leave(viewer)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for a proxy in between
	out := stream{w, http.NewResponseController(w)}
	if r.Method == http.MethodHead || !out.send("retry: 1000\n\n") {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for last := s.hub.position(r.Header.Get("Last-Event-ID")); ; {
		news := s.hub.ask(last)
		if !out.sendAll(news.events) || news.over {
			return
		}
		if n := len(news.events); n > 0 {
			last = news.events[n-1].number
		}
		select {
		case <-viewer.wake:
		case <-beat.C:
			if !out.send(": still here\n\n") {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// stream is a connection to a browser.
type stream struct {
	http.ResponseWriter
	control *http.ResponseController
}

// send reports whether the text has gone out. One that cannot within the bound is for a browser that reads no more.
func (s stream) send(text string) bool { return s.sendAll([]event{{text: []byte(text)}}) }

func (s stream) sendAll(events []event) bool {
	for _, e := range events {
		if s.control.SetWriteDeadline(time.Now().Add(writeBound)) != nil {
			return false
		}
		if _, err := s.Write(e.text); err != nil {
			return false
		}
	}
	return len(events) == 0 || s.control.Flush() == nil
}
