package live

import (
	"slices"
	"strconv"
	"strings"
)

// event is what the hub keeps of one that was published: text that is sent to every browser as it is.
type event struct {
	number uint64
	name   string
	text   []byte // never changed
}

// viewer is one browser's connection.
type viewer struct {
	// wake: from the hub to the connection's goroutine; nobody closes it; capacity 1, since one pending wake-up says all.
	wake chan struct{}
}

// published is an event for the hub.
type published struct {
	name string
	data []byte // JSON
}

// joining asks for a place.
type joining struct {
	viewer *viewer
	reply  chan bool // from the hub, once; capacity 1, so that the hub does not wait
}

// question asks for the events after a number.
type question struct {
	after uint64
	reply chan answer // from the hub, once; capacity 1, so that the hub does not wait
}

// answer has the events, oldest first. over says that no more will come.
type answer struct {
	events []event
	over   bool
}

// hub keeps the last events of each name, and wakes those who send them to browsers. The first fields never change.
type hub struct {
	run    string         // tells this run's events from those of another on the same port
	keep   map[string]int // how many events of a name are kept; of others the last one is
	places int            // for viewers

	// All of these: to the hub's goroutine, which never blocks; nobody closes them; no capacity, so that what was sent was received.
	events    chan published
	joins     chan joining
	questions chan question
	leaves    chan *viewer
	finish    chan struct{} // from finishing, once or several times
	// done is closed by the hub's goroutine when it ends: after finish, once the last viewer has left.
	done chan struct{}

	// The rest is the goroutine's own.
	last    uint64
	kept    []event // by number
	viewers map[*viewer]struct{}
}

// startHub starts a hub. Its goroutine is joined by waiting for done.
func startHub(run string, keep map[string]int, places int) *hub {
	h := &hub{
		run: run, keep: keep, places: places,
		events: make(chan published), joins: make(chan joining), questions: make(chan question), leaves: make(chan *viewer),
		finish: make(chan struct{}), done: make(chan struct{}),
		viewers: map[*viewer]struct{}{},
	}
	go h.loop() // Joined by whoever waits for done, as Server.Close does.
	return h
}

// loop is the only goroutine that touches the hub's state. It waits for nobody.
func (h *hub) loop() {
	defer close(h.done)
	for finishing := false; !finishing || len(h.viewers) > 0; {
		select {
		case p := <-h.events:
			h.add(p)
			h.wake()
		case j := <-h.joins:
			admitted := !finishing && len(h.viewers) < h.places
			if admitted {
				h.viewers[j.viewer] = struct{}{}
			}
			j.reply <- admitted
		case q := <-h.questions:
			q.reply <- answer{events: h.since(q.after), over: finishing}
		case v := <-h.leaves:
			delete(h.viewers, v)
		case <-h.finish:
			finishing = true
			h.wake()
		}
	}
}

// add keeps an event, and drops the oldest one of its name where there are too many.
func (h *hub) add(p published) {
	h.last++
	h.kept = append(h.kept, event{number: h.last, name: p.name, text: frame(h.run, h.last, p.name, p.data)})
	of := 0
	for _, e := range h.kept {
		if e.name == p.name {
			of++
		}
	}
	if of > max(1, h.keep[p.name]) {
		oldest := slices.IndexFunc(h.kept, func(e event) bool { return e.name == p.name })
		h.kept = slices.Delete(h.kept, oldest, oldest+1)
	}
}

func (h *hub) wake() {
	for v := range h.viewers {
		select {
		case v.wake <- struct{}{}:
		default: // it is going to ask already
		}
	}
}

func (h *hub) since(number uint64) []event {
	i, _ := slices.BinarySearchFunc(h.kept, number+1, func(e event, n uint64) int { return int(int64(e.number - n)) })
	return slices.Clone(h.kept[i:])
}

// frame is an event on the wire. JSON of encoding/json has no line breaks.
func frame(run string, number uint64, name string, data []byte) []byte {
	text := "id: " + run + "." + strconv.FormatUint(number, 10) + "\nevent: " + name + "\ndata: "
	return append(append([]byte(text), data...), "\n\n"...)
}

// position is the number in an id that a browser repeats, 0 where it is of another run or none at all.
func (h *hub) position(id string) uint64 {
	number, ours := strings.CutPrefix(id, h.run+".")
	if !ours {
		return 0
	}
	n, err := strconv.ParseUint(number, 10, 62)
	if err != nil {
		return 0
	}
	return n
}

// publish hands an event to the hub. After its end nobody is interested.
func (h *hub) publish(name string, data []byte) {
	select {
	case h.events <- published{name: name, data: data}:
	case <-h.done:
	}
}

// join asks for a place. Whoever got one leaves it.
func (h *hub) join() (*viewer, bool) {
	j := joining{viewer: &viewer{wake: make(chan struct{}, 1)}, reply: make(chan bool, 1)}
	select {
	case h.joins <- j:
		return j.viewer, <-j.reply
	case <-h.done:
		return nil, false
	}
}

// leave gives a place back. The hub is there until the last has left.
func (h *hub) leave(v *viewer) { h.leaves <- v }

// ask returns the events after a number. The hub is there, since the caller has a place.
func (h *hub) ask(after uint64) answer {
	q := question{after: after, reply: make(chan answer, 1)}
	h.questions <- q
	return <-q.reply
}

// finishing lets the viewers go when they have been sent everything.
func (h *hub) finishing() {
	select {
	case h.finish <- struct{}{}:
	case <-h.done:
	}
}
