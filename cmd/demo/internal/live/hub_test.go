package live

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newHub starts a hub that is gone with the test.
func newHub(t *testing.T, keep map[string]int, places int) *hub {
	t.Helper()
	h := startHub("run", keep, places)
	t.Cleanup(func() {
		h.finishing()
		<-h.done
	})
	return h
}

func names(events []event) string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprint(e.name, e.number))
	}
	return strings.Join(all, " ")
}

func TestTheHubKeepsTheLastEventsOfEachName(t *testing.T) {
	h := newHub(t, map[string]int{"sample": 3}, 1)
	v, _ := h.join()
	defer h.leave(v)
	for _, name := range []string{"phase", "sample", "sample", "phase", "sample", "sample", "sample", "fault"} {
		h.publish(name, []byte("{}"))
	}
	for after, want := range map[uint64]string{0: "phase4 sample5 sample6 sample7 fault8", 5: "sample6 sample7 fault8", 8: "", 99: ""} {
		if got := names(h.ask(after).events); got != want {
			t.Errorf("after %d: %q, want %q", after, got, want)
		}
	}
	if got := string(h.ask(7).events[0].text); got != "id: run.8\nevent: fault\ndata: {}\n\n" {
		t.Errorf("on the wire it is %q", got)
	}
}

func TestPositions(t *testing.T) {
	h := &hub{run: "ab12"}
	for id, want := range map[string]uint64{"ab12.7": 7, "ab12.": 0, "ab12.x": 0, "other.7": 0, "": 0, "ab12.-1": 0, "ab12.99999999999999999999": 0, "7": 0} {
		if got := h.position(id); got != want {
			t.Errorf("%q is at %d, want %d", id, got, want)
		}
	}
}

// One wake-up is pending at most, and the run does not wait for a viewer that does not look.
func TestAViewerThatSleepsHoldsNobodyUp(t *testing.T) {
	h := newHub(t, map[string]int{"sample": 2}, 2)
	asleep, _ := h.join()
	defer h.leave(asleep)
	for range 1000 {
		h.publish("sample", []byte("1"))
	}
	<-asleep.wake
	select {
	case <-asleep.wake:
		t.Error("a second wake-up was pending")
	default:
	}
	if got := names(h.ask(0).events); got != "sample999 sample1000" {
		t.Errorf("the hub keeps %s", got)
	}
}

func TestPlacesAreBounded(t *testing.T) {
	h := newHub(t, nil, 1)
	v, admitted := h.join()
	if !admitted {
		t.Fatal("there was a place")
	}
	if _, admitted := h.join(); admitted {
		t.Error("two have one place")
	}
	h.leave(v)
	v, admitted = h.join()
	if !admitted {
		t.Error("the place was not given back")
	}
	h.leave(v)
}

func TestTheHubEndsWithItsLastViewer(t *testing.T) {
	h := startHub("run", nil, 2)
	v, _ := h.join()
	h.publish("result", []byte("1"))
	h.finishing()
	if _, admitted := h.join(); admitted {
		t.Error("a viewer came in after the end")
	}
	select {
	case <-h.done:
		t.Fatal("it ended before its last viewer left")
	case <-v.wake:
	}
	if news := h.ask(0); !news.over || names(news.events) != "result1" {
		t.Errorf("told %s, over: %v", names(news.events), news.over)
	}
	h.leave(v)
	<-h.done
	// Nobody hears these, and they return.
	h.publish("late", nil)
	h.finishing()
	if _, admitted := h.join(); admitted {
		t.Error("a hub that has ended admits")
	}
}
