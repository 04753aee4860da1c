//go:build unix

package live

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/browser"
)

// object is a value as a test writes it.
type object map[string]any

// sample is one whose figures all differ.
func sample(at float64, n int) object {
	return object{
		"at": at, "per_second": 1000 + n, "acquired": 20_000 + n, "cancelled": 0, "failed": 0, "lost": n - 1, "violations": 0, "waiting": 300 + n, "holding": 40 + n,
		"wait_ms": object{"p50": 1.5, "p90": 12.25, "p99": 1234}, "keys": object{"contended": 6, "held": 5, "shared": 4, "handover": 3, "free": 2},
		"sessions": object{"total": 6, "shared": 1, "waiting": 2, "dedicated": 3, "idle": 0, "opening": 0},
	}
}

func play(s *Server) {
	s.Publish("phase", object{"name": "starting", "text": "Starting it"})
	s.Publish("run", object{"server": "PostgreSQL 99", "text": "2 processes", "duration_seconds": 10, "keys": 20, "workers": 2, "readers": true})
	s.Publish("phase", object{"name": "running", "text": "Running"})
	s.Publish("sample", sample(1, 1))
	s.Publish("sample", sample(2, 2))
}

// watch starts a server, and opens its page once it has been told of two samples.
func watch(t *testing.T) (s *Server, closeServer func(), tab context.Context) {
	t.Helper()
	s, closeServer = serve(t, map[string]int{"sample": 600, "fault": 200})
	tab = browser.Open(t)
	browser.Do(tab, t, chromedp.Navigate(s.URL()))
	play(s)
	browser.Until(tab, t, `document.querySelector('[data-card=acquired] dd').innerText === '20,002'`)
	return s, closeServer, tab
}

func TestThePageShowsWhatHappens(t *testing.T) {
	s, _, tab := watch(t)
	for card, want := range map[string]string{"per second": "1,002", "wait p50": "1.50 ms", "wait p99": "1.23 s", "waiting callers": "302", "holders": "42",
		"sessions": "6", "lost locks": "1", "failed": "0", "violations": "0"} {
		if got := browser.Text(tab, t, fmt.Sprintf("[data-card=%q] dd", card)); got != want {
			t.Errorf("%s is %q, want %q", card, got, want)
		}
	}
	head := browser.Text(tab, t, "header")
	for _, want := range []string{"on PostgreSQL 99", "2 processes", "Running", "2.0 s of 10 s"} {
		if !strings.Contains(head, want) {
			t.Errorf("no %q in %q", want, head)
		}
	}
	if got := browser.Value[bool](tab, t, `[...document.querySelectorAll('.card.bad')].every((c) => c.dataset.card === 'lost locks')`); !got {
		t.Error("another card than that of the lost locks is marked")
	}
	// One line for the throughput, three for the waits, an area for each state of keys and kind of session.
	counts := `[...document.querySelectorAll('figure')].map((f) => f.querySelectorAll('.plot .line').length + '+' + f.querySelectorAll('.plot .area').length).join(' ')`
	if got := browser.Value[string](tab, t, counts); got != "1+0 3+0 0+5 0+4" {
		t.Errorf("the charts have %s", got)
	}

	s.Publish("fault", object{"at": 2.5, "kind": "loss", "count": 3, "text": "3 locks lost <b>"})
	browser.Until(tab, t, `document.querySelector('#faults li')?.innerText.includes('3 locks lost <b>')`)
	browser.Until(tab, t, `document.querySelectorAll('.fault').length === 4`)
	if browser.Value[bool](tab, t, `document.getElementById('none').checkVisibility()`) {
		t.Error("there are no faults, it says")
	}
}

// By keyboard: the charts are reached by Tab, and read moment by moment; the table says the same.
func TestThePageByKeyboard(t *testing.T) {
	s, _, tab := watch(t)
	s.Publish("sample", sample(3, 3))
	browser.Until(tab, t, `document.querySelector('[data-card=acquired] dd').innerText === '20,003'`)
	press := func(keys string) string {
		t.Helper()
		browser.Do(tab, t, chromedp.KeyEvent(keys))
		return browser.Value[string](tab, t, `document.activeElement.getAttribute('aria-valuetext') ?? document.activeElement.tagName`)
	}
	for i, step := range []struct{ keys, want string }{
		{kb.Tab, "3 s: per second 1,003"}, {kb.ArrowLeft, "2 s: per second 1,002"}, {kb.ArrowLeft, "1 s: per second 1,001"}, {kb.ArrowLeft, "1 s: per second 1,001"},
		{kb.End, "3 s: per second 1,003"}, {kb.Home, "1 s: per second 1,001"}, {kb.ArrowRight, "2 s: per second 1,002"},
		{kb.Tab, "2 s: p99 1.23 s, p90 12.3 ms, p50 1.50 ms"}, // the other charts show the same moment
		{kb.Escape, "3 s: p99 1.23 s, p90 12.3 ms, p50 1.50 ms"},
		{kb.Tab, "3 s: held, others wait 6, held 5, shared 4, handed over 3, free 2"},
		{kb.Tab, "3 s: shared by many keys 1, waiting for a key 2, with one key 3, idle 0"}, {kb.Tab, "SUMMARY"}, {kb.Enter, "SUMMARY"}, {kb.Tab, "DIV"},
	} {
		if got := press(step.keys); got != step.want {
			t.Fatalf("step %d: %q, want %q", i+1, got, step.want)
		}
	}
	browser.Until(tab, t, `document.querySelectorAll('#rows tr').length === 3`)
	if got := browser.Text(tab, t, "#rows tr"); got != "3.0 s\t20,003\t303\t1,003\t1.23 s\t12.3 ms\t1.50 ms\t6\t5\t4\t3\t2\t1\t2\t3\t0" {
		t.Errorf("the first row of the table is %q", got)
	}
	for _, what := range []string{`[role=status]`, `[role=log][aria-labelledby]`, `progress[aria-label]`, `html[lang]`, `[role=slider][aria-label]`, `[role=region][aria-label]`} {
		if !browser.Value[bool](tab, t, fmt.Sprintf("document.querySelector(%q) != null", what)) {
			t.Errorf("the page has no %s", what)
		}
	}
}

// The page fits a phone, and its texts stand out from what is behind them, in the light and in the dark.
func TestThePageOnAPhoneAndInTheDark(t *testing.T) {
	s, _, tab := watch(t)
	s.Publish("fault", object{"at": 2.5, "kind": "violation", "count": 3, "text": strings.Repeat("long", 50)})
	s.Publish("result", object{"ok": false, "heading": "EXCLUSION VIOLATED", "detail": "3 violations", "left": "NOTHING", "report": object{"seconds": 3}, "text": "text",
		"problems": []string{strings.Repeat("problem", 30)}, "figures": []object{{"name": "lost", "label": "lost", "text": "1"}}})
	browser.Until(tab, t, `document.getElementById('verdict').checkVisibility()`)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 390, 1280} {
			browser.Look(tab, t, width, 844, width < 800, scheme)
			browser.Until(tab, t, fmt.Sprintf(`innerWidth === %d && document.querySelector('.plot svg').viewBox.baseVal.width <= innerWidth`, width))
			if wide := browser.Value[int](tab, t, `document.documentElement.scrollWidth`); wide > int(width) {
				t.Errorf("%s, %d wide: the page is %d wide", scheme, width, wide)
			}
			if small := browser.Value[string](tab, t, contrast); small != "" {
				t.Errorf("%s: hard to read: %s", scheme, small)
			}
		}
	}
}

// contrast lists the texts whose contrast to their background is below 4.5 (WCAG 2, level AA).
const contrast = `(() => {
	const light = (c) => c.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((a, v, i) => a + v * [0.2126, 0.7152, 0.0722][i], 0);
	const rgb = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
	const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
	const bad = [];
	for (const e of document.querySelectorAll('body *')) {
		if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		const style = getComputedStyle(e);
		const [a, b] = [light(rgb(e instanceof SVGElement ? style.fill : style.color).slice(0, 3)), light(behind(e))].sort((x, y) => y - x);
		if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(e.tagName + ' ' + e.textContent.trim().slice(0, 30) + ' ' + ((a + 0.05) / (b + 0.05)).toFixed(2));
	}
	return bad.join('; ');
})()`

// When the connection is lost the page says so, keeps what it shows, and comes back; another run on the same port begins anew.
func TestThePageComesBack(t *testing.T) {
	s, closeServer, tab := watch(t)
	closeServer() // without a result, as if the process had been killed
	browser.Until(tab, t, `document.getElementById('state').innerText === 'Connection lost'`)
	if got := browser.Text(tab, t, "[data-card=acquired] dd"); got != "20,002" {
		t.Errorf("it shows %s acquisitions", got)
	}
	next, err := Listen(t.Context(), s.address, "next", map[string]int{"sample": 9})
	check(t, err)
	t.Cleanup(func() { check(t, next.Close()) })
	next.Publish("phase", object{"name": "running"})
	next.Publish("sample", sample(1, 7))
	browser.Until(tab, t, `document.querySelector('[data-card=acquired] dd').innerText === '20,007'`)
	browser.Until(tab, t, `document.getElementById('state').innerText === 'Running'`)
	browser.Do(tab, t, chromedp.Click("#samples summary"))
	browser.Until(tab, t, `document.querySelectorAll('#rows tr').length === 1`)
}

// After the result the page stays as it is, and asks no more.
func TestThePageIsOver(t *testing.T) {
	s, closeServer, tab := watch(t)
	s.Publish("result", object{"ok": true, "heading": "EXCLUSION PROVEN", "detail": "20,005 acquisitions", "left": "NOTHING LEFT BEHIND", "interrupted": true, "text": "the report",
		"report":  object{"seconds": 2.5, "acquired": 20_005},
		"figures": []object{{"name": "acquired", "label": "acquired", "text": "20,005"}, {"name": "wait_ms.p50", "label": "wait p50", "text": "7.00 ms"}}})
	closeServer()
	browser.Until(tab, t, `document.getElementById('verdict').checkVisibility() && document.querySelector('[data-card=acquired] dd').innerText === '20,005'`)
	for selector, want := range map[string]string{"#heading": "EXCLUSION PROVEN", "#state": "Over", "#said": "The run was interrupted: the figures are those up to then.",
		"[data-card='wait p50'] dd": "7.00 ms", "[data-figure='wait_ms.p50']": "7.00 ms", "#clock": "2.5 s of 10 s"} {
		if got := browser.Text(tab, t, selector); got != want {
			t.Errorf("%s is %q, want %q", selector, got, want)
		}
	}
	next, err := Listen(t.Context(), s.address, "next", nil)
	check(t, err)
	next.Publish("phase", object{"name": "running"})
	<-time.After(1500 * time.Millisecond) // a page that came back would do so after a second
	if got := browser.Value[string](tab, t, `document.title`); got != "exclusion proven – demo load" {
		t.Errorf("the title is %q", got)
	}
	if !browser.Value[bool](tab, t, `document.getElementById('verdict').checkVisibility()`) {
		t.Error("the verdict has gone")
	}
	check(t, next.Close())
}
