//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/browser"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// pageOf waits until the program says where its page is.
func pageOf(p *program, o *output) string {
	p.t.Helper()
	said := regexp.MustCompile(`Watch it at (http://127\.0\.0\.1:\d+/)\n`)
	p.until(o, said.String())
	return said.FindStringSubmatch(o.String())[1]
}

// The figures on the page are those of the run, in a browser, while it goes on and at its end. Sessions are ended meanwhile: the page shows
// the losses.
func TestThePageHasTheFiguresOfTheRun(t *testing.T) {
	t.Parallel()
	tab := browser.Open(t)
	server, name := pgtest.NewDatabase(t)
	p := start(t, "load", "--ui", "auto", "--processes", "2", "--workers", "8", "--keys", "3", "--readers", "0.3", "--hold", "20ms", "--duration", "10m", "--json",
		"--dsn", server.DSNOf(name))
	browser.Do(tab, t, chromedp.Navigate(pageOf(p, p.stderr)))
	browser.Until(tab, t, `Number(document.querySelector('[data-card=acquired] dd').innerText.replaceAll(',', '')) > 0`)
	if got := browser.Text(tab, t, "#state"); got != "Running" {
		t.Errorf("the state is %q", got)
	}
	// Sessions that hold nothing at that moment cost nothing: so again, until a lock was lost.
	eventually(t, func() bool {
		query(t, server.DSNOf(name), `SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE 'lockkeeper-demo %' AND application_name NOT LIKE '%oracle'`)
		return browser.Value[bool](tab, t, `/lost while held/.test(document.getElementById('faults').innerText)`)
	})
	browser.Until(tab, t, `/loss\s+the lock manager lost .*: ended by the server/.test(document.getElementById('faults').innerText)`)

	p.signal(syscall.SIGINT)
	status, want := p.wait(), 130
	l := decode(t, p)
	browser.Until(tab, t, `document.getElementById('result').checkVisibility()`)
	if l.Violations > 0 { // the next holder may come before the last one hears that the server has ended its session
		want = 1
		text := browser.Value[string](tab, t, `document.getElementById('report').textContent`)
		contains(t, strings.Join(strings.Fields(text), " "),
			report.Count(l.Violations)+" of the violations are on keys where a holder wrote while its lock was being lost")
	}
	if status != want {
		t.Errorf("exit status %d, want %d\n%s\n%s", status, want, p.stdout, p.stderr)
	}
	figures := browser.Value[map[string]string](tab, t, `Object.fromEntries([...document.querySelectorAll('[data-figure]')].map((e) => [e.dataset.figure, e.innerText]))`)
	for name, want := range map[string]string{
		"server": l.Server, "processes": "2", "workers": "8", "keys": "3", "wait": l.Wait, "seconds": fmt.Sprintf("%.3f s", l.Seconds),
		"acquired": report.Count(l.Acquired), "acquired_per_second": report.Count(uint64(l.AcquiredPerSecond)), "cancelled": report.Count(l.Cancelled),
		"failed": report.Count(l.Failed), "lost": report.Count(l.Lost), "violations": report.Count(l.Violations), "fairness_jain": fmt.Sprintf("%.4f", l.FairnessJain),
		"wait_ms.p50": report.Millis(l.WaitMS.P50), "wait_ms.p99": report.Millis(l.WaitMS.P99), "wait_ms.max": report.Millis(l.WaitMS.Max),
		"readers.acquired": report.Count(l.Readers.Acquired), "writers.acquired": report.Count(l.Writers.Acquired),
		"sessions": report.Count(l.Sessions), "leaked.connections": report.Count(l.Leaked.Connections),
	} {
		if figures[name] != want {
			t.Errorf("%s is %q on the page, and %q in the result", name, figures[name], want)
		}
	}
	for card, want := range map[string]string{"acquired": report.Count(l.Acquired), "per second": report.Count(uint64(l.AcquiredPerSecond)), "wait p99": report.Millis(l.WaitMS.P99),
		"lost locks": report.Count(l.Lost), "failed": report.Count(l.Failed), "violations": report.Count(l.Violations), "sessions": report.Count(l.Sessions)} {
		if got := browser.Text(tab, t, fmt.Sprintf("[data-card=%q] dd", card)); got != want {
			t.Errorf("%s is %q on its card, want %q", card, got, want)
		}
	}
	// All of it is there as JSON, too.
	var onPage, printed any
	if err := json.Unmarshal([]byte(browser.Value[string](tab, t, `document.getElementById('json').textContent`)), &onPage); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &printed); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(onPage) != fmt.Sprint(printed) {
		t.Errorf("the page has %v,\nand the program printed %v", onPage, printed)
	}
	if heading := browser.Text(tab, t, "#heading"); !strings.HasPrefix(heading, "EXCLUSION ") || !strings.Contains(browser.Value[string](tab, t, `document.getElementById('report').textContent`), heading) {
		t.Errorf("the verdict is %q", heading)
	}
	if l.Lost == 0 || !strings.Contains(browser.Text(tab, t, "#said"), "interrupted") {
		t.Errorf("lost %d; the page says %q", l.Lost, browser.Text(tab, t, "#said"))
	}
	p.mustBeClean(0)
}

// Without a browser: the page is there while the load is, and the program ends although a reader of its events reads nothing.
func TestThePageEndsWithTheLoad(t *testing.T) {
	t.Parallel()
	p := start(t, "load", "--ui", "auto", "--processes", "1", "--workers", "2", "--keys", "2", "--hold", "20ms", "--duration", "2s")
	url := pageOf(p, p.stdout)
	get := func(path string) (*http.Response, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return http.DefaultClient.Do(request)
	}
	events, err := get("events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	if page, err := get(""); err != nil || page.StatusCode != http.StatusOK {
		t.Errorf("the page: %v", err)
	} else {
		page.Body.Close()
	}
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d\n%s", status, p.stderr)
	}
	if _, err := get(""); err == nil {
		t.Error("the page is served although the load has ended")
	}
	contains(t, p.stdout.String(), "EXCLUSION PROVEN")
	p.mustBeClean(0)
}

// A page that is kept can be opened after the run, and shows its result. Ctrl-C ends it at once, although a browser watches, and the status is the run's.
func TestThePageIsKept(t *testing.T) {
	t.Parallel()
	tab := browser.Open(t)
	p := start(t, "load", "--ui", "auto", "--ui-keep", "10m", "--processes", "1", "--workers", "2", "--keys", "2", "--hold", "20ms", "--duration", "2s")
	p.until(p.stdout, `(?s)EXCLUSION PROVEN.*The page stays at http://.*/ for 10m0s\. Ctrl-C ends it\.`)
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(p.stdout.String())
	for range 2 { // and loaded again
		browser.Do(tab, t, chromedp.Navigate(url))
		browser.Until(tab, t, `document.getElementById('result').checkVisibility()`)
	}
	if heading := browser.Text(tab, t, "#heading"); !strings.HasPrefix(heading, "EXCLUSION PROVEN") {
		t.Errorf("the verdict is %q", heading)
	}
	p.signal(syscall.SIGINT)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d\n%s", status, p.stderr)
	}
	p.mustBeClean(0)
}

// The page of a load that does not begin goes with it.
func TestThePageOfALoadThatDoesNotBegin(t *testing.T) {
	t.Parallel()
	p := start(t, "load", "--ui", "auto", "--ui-keep", "10m", "--dsn", "postgres://u@127.0.0.1:1/db")
	if status := p.wait(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	contains(t, p.stderr.String(), "cannot connect to the server")
	p.mustBeClean(0)
}

func TestThePageForOtherMachinesIsWarnedOf(t *testing.T) {
	t.Parallel()
	open := start(t, "load", "--ui", "0.0.0.0:0", "--duration", "10m")
	address := strings.TrimSuffix(strings.TrimPrefix(pageOf(open, open.stdout), "http://"), "/")
	open.until(open.stderr, `Warning: everybody who reaches this machine's 0\.0\.0\.0 can open the page`)

	// A port that is taken is told before anything is started.
	p := start(t, "load", "--ui", address)
	if status := p.wait(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	contains(t, p.stderr.String(), "the page cannot be served at "+address, "or auto")
	p.mustBeClean(0)
	open.signal(syscall.SIGINT)
	if status := open.wait(); status != 130 {
		t.Errorf("exit status %d, want 130\n%s", status, open.stderr)
	}
	open.mustBeClean(0)
}
