package starts

import "sync"

type owner struct {
	waited, forgotten sync.WaitGroup
	embedded
}

type embedded struct{ sync.WaitGroup }

func run() {}

func (o *owner) start() {
	go run()
	func() {
		go run()
	}()
	o.forgotten.Go(run)
	var local sync.WaitGroup
	local.Go(run)
}

// startIts is joined in the end, but the comment does not say by what.
func startIt() {
	go run()
}

// startBelow has its comment in the wrong place.
func startBelow() {
	// Joined by close, says a comment that is not directly above.

	go run()
}

// ---- these are fine

// startWell runs it.
//
// Joined by stop.
func (o *owner) startWell() {
	go run()
	func() { go run() }()
}

func (o *owner) startAlso(passed *sync.WaitGroup) {
	// It runs for as long as the owner. Joined by stop.
	go run()
	o.waited.Go(run)
	o.Go(run)
	// Joined by the caller, whose group it is.
	passed.Go(run)
	var local sync.WaitGroup
	local.Go(run)
	local.Wait()
}

func (o *owner) stop() {
	o.waited.Wait()
	o.Wait()
}
