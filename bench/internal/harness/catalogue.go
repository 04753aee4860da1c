package harness

import (
	"slices"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/server"
)

// Catalogue is all that can be measured.
type Catalogue struct {
	Kinds     []server.Kind
	Scenarios []scenario.Scenario
}

// Systems are the names of all systems, in the order of reports.
func (c Catalogue) Systems() []string {
	var names []string
	for _, k := range c.Kinds {
		for _, s := range k.Systems {
			names = append(names, s.Name())
		}
	}
	return names
}

// ScenarioNames are in the order of reports.
func (c Catalogue) ScenarioNames() []string {
	var names []string
	for _, s := range c.Scenarios {
		names = append(names, s.Name)
	}
	return names
}

func (c Catalogue) scenario(name string) (scenario.Scenario, bool) {
	i := slices.IndexFunc(c.Scenarios, func(s scenario.Scenario) bool { return s.Name == name })
	if i < 0 {
		return scenario.Scenario{}, false
	}
	return c.Scenarios[i], true
}

func (c Catalogue) system(name string) (peer.System, server.Kind, bool) {
	for _, k := range c.Kinds {
		for _, s := range k.Systems {
			if s.Name() == name {
				return s, k, true
			}
		}
	}
	return nil, server.Kind{}, false
}
