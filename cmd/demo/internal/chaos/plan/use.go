package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Use is a kind of lock, and of worker that takes it.
type Use string

// The kinds of locks.
const (
	Exclusive Use = "exclusive"
	Shared    Use = "shared"
	MinHold   Use = "min-hold"
	Sets      Use = "sets"
	Nested    Use = "nested"
	Once      Use = "once"
	Elect     Use = "elect"
	Tx        Use = "tx"
	SharedTx  Use = "shared-tx"
	Slots     Use = "slots"
)

// Uses lists all kinds of locks, in the order of the help text. A record of the history names one by its place here.
var Uses = []struct {
	Use  Use
	Text string
}{
	{Exclusive, "Acquire, TryAcquire and Do of one key"},
	{Shared, "AcquireShared, TryAcquireShared and DoShared: readers"},
	{MinHold, "the exclusive ones with WithMinHold: the key stays locked although it was released"},
	{Sets, "AcquireAll of up to five keys, all or nothing"},
	{Nested, "Acquire inside of a hold, up to three deep; a circle of waits is ErrDeadlock"},
	{Once, "one run per key and period"},
	{Elect, "terms of leaders, which end by themselves, by Resign or by a loss"},
	{Tx, "AcquireTx and TryAcquireTx in a transaction of the worker's own"},
	{SharedTx, "the same with WithSharedTx: readers too"},
	{Slots, "AcquireSlot and TryAcquireSlot: two, three or four holders of a key of their own"},
}

// SlotKeys is how many keys beyond [Plan.Keys] there are for slots. The first has two, each after it one more.
const SlotKeys = 3

// Place is the kind's place in Uses.
func (u Use) Place() uint8 {
	for i, about := range Uses {
		if about.Use == u {
			return uint8(i)
		}
	}
	panic("BUG: unknown kind of lock " + string(u))
}

// ParseUses reads a list of kinds of locks, as [ParseFaults] does.
func ParseUses(list string) ([]Use, error) {
	var all []Use
	for _, about := range Uses {
		all = append(all, about.Use)
	}
	uses, err := parse(list, all, "kinds of locks")
	if err == nil && len(uses) == 0 {
		err = fmt.Errorf("%q leaves none of the kinds of locks", list)
	}
	return uses, err
}

// ParseFaults reads a list of kinds of faults, separated by commas. "all" stands for all of them, "none" for none. A kind after a
// minus is left out; a list that begins with a minus begins with all.
func ParseFaults(list string) ([]Kind, error) {
	var all []Kind
	for _, about := range Kinds {
		all = append(all, about.Kind)
	}
	return parse(list, all, "faults")
}

func parse[T ~string](list string, all []T, what string) (out []T, _ error) {
	chosen := map[T]bool{}
	for i, name := range strings.Split(list, ",") {
		name = strings.TrimSpace(name)
		without, leave := strings.CutPrefix(name, "-")
		if name == "all" || leave && i == 0 {
			for _, one := range all {
				chosen[one] = true
			}
		}
		switch {
		case name == "all", name == "none" && i == 0:
		case !slices.Contains(all, T(without)):
			return nil, fmt.Errorf("%q is none of the %s", name, what)
		default:
			chosen[T(without)] = !leave
		}
	}
	for _, one := range all {
		if chosen[one] {
			out = append(out, one)
		}
	}
	return out, nil
}
