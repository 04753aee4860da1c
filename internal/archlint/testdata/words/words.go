package words

type ledger struct {
	heir      *ledger
	deposedBy int
	line      []int
	deadline  int
	online    int
}

const dutyReader = 1

func (l *ledger) letGo()           {}
func (l *ledger) letGoOfAll()      {}
func (l *ledger) Take()            {}
func (l *ledger) takeOver()        {}
func (l *ledger) MustRead()        {}
func (l *ledger) Give(door int)    {}
func (l *ledger) shutdown()        {}
func (l *ledger) forgiven()        {}
func (l *ledger) HTTPTurn2Waning() {}

func locals() int {
	line, note := 1, 2
	seat := line + note
	return seat
}

// turns is what another library calls it.
//
//arch:name the protocol's own word
const turns = 3
