package pg

import "testing/synctest"

// submitTogether makes one statement of several requests: the session is stopped from looking until all are there.
func submitTogether(s Session, callers []*caller, op Op) {
	gather(s, func() {
		for _, c := range callers {
			c.submit(s, op)
		}
	})
}

// gather has the session gather what submit submits: as many statements as may be are in the air, and the reader is held up with
// the answer to the first.
func gather(s Session, submit func()) {
	gate := &gateClient{open: make(chan struct{})}
	for range maxStatements {
		s.Submit(&Request{Client: gate, ID: 1 << 50, Op: opWho, inquiry: &inquiry{}})
		synctest.Wait()
	}
	submit()
	close(gate.open)
}

// gateClient holds a session's reader up.
type gateClient struct{ open chan struct{} }

func (g *gateClient) Done(*Request)       { <-g.open }
func (g *gateClient) Lost(Session, int64) {}
