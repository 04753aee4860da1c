// Package browser runs pages in a headless Chromium for tests.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// envPath may name the program.
const envPath = "LOCKKEEPER_CHROMIUM"

// names are those of the programs that serve, in PATH.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless-shell"}

var errNone = errors.New("there is no Chromium: scripts/ensure-chromium, or apt-get install chromium, dnf install chromium, apk add chromium, " +
	"brew install --cask chromium; or set " + envPath + " to the path of a Chromium or Chrome")

func find() (string, error) {
	if path := os.Getenv(envPath); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", envPath, err)
		}
		return found, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNone
}

// bound is far more than a test here takes.
const bound = 2 * time.Minute

// Open starts a browser with one empty tab, which the context stands for. Both go with the test. The test is skipped where there is no
// Chromium, and fails where CI=true. It fails, too, when the page logs an error or throws.
func Open(t *testing.T) context.Context {
	t.Helper()
	path, err := find()
	switch {
	case errors.Is(err, errNone) && os.Getenv("CI") != "true":
		t.Skip("this test needs a browser: ", err)
	case err != nil:
		t.Fatal(err)
	}
	// A container has no /dev/shm of the size that Chromium expects.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("disable-dev-shm-usage", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // root has none
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	tab, _ := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(tab); err != nil { // waits for the browser's end
			t.Error("the browser does not end: ", err)
		}
	})
	Do(tab, t)
	err = chromedp.Listen(tab, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page threw: %+v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			if e.Entry.Level == "error" && e.Entry.Source != "network" {
				t.Errorf("the browser complains: %s", e.Entry.Text)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// Do does something in the tab.
func Do(tab context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	Get(tab, t, chromedp.Steps(steps...))
}

// Get does something in the tab that has a result.
func Get[T any](tab context.Context, t *testing.T, action chromedp.Action[T]) T {
	t.Helper()
	value, err := chromedp.Run(tab, action)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Text is what a person reads in the first element that a selector finds.
func Text(tab context.Context, t *testing.T, selector string) string {
	t.Helper()
	return Value[string](tab, t, fmt.Sprintf("document.querySelector(%q)?.innerText ?? '(none)'", selector))
}

// Value is what an expression of JavaScript gives.
func Value[T any](tab context.Context, t *testing.T, expression string) T {
	t.Helper()
	return Get(tab, t, chromedp.Evaluate[T](expression))
}

// Until waits until an expression of JavaScript is true. chromedp's own Poll makes functions of text, which a page may forbid.
func Until(tab context.Context, t *testing.T, expression string) {
	t.Helper()
	late := time.After(bound)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !Value[bool](tab, t, "Boolean("+expression+")") {
		select {
		case <-ticker.C:
		case <-late:
			t.Fatalf("it never came about that %s; the page shows\n%s", expression, Text(tab, t, "body"))
		}
	}
}

// Look sets what a page is looked at with: the size of the screen, whether it is a phone's, and light or dark.
func Look(tab context.Context, t *testing.T, width, height int64, phone bool, scheme string) {
	t.Helper()
	options := []chromedp.EmulateViewportOption{}
	if phone {
		options = append(options, chromedp.EmulatePortrait, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	Do(tab, t, chromedp.EmulateViewport(width, height, options...), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}
