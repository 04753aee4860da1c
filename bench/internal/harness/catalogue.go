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
	// Program is the path of the program that measures all systems but variants. It is this process's own where it is empty.
	Program string
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

// WithVariant returns the catalogue with the variant behind the system that it is one of. own becomes its Program.
func (c Catalogue) WithVariant(v Variant, own string) Catalogue {
	c.Program = own
	c.Kinds = slices.Clone(c.Kinds)
	for i, k := range c.Kinds {
		at := slices.IndexFunc(k.Systems, func(s peer.System) bool { return s.Name() == v.Of })
		if at >= 0 {
			c.Kinds[i].Systems = slices.Insert(slices.Clone(k.Systems), at+1, peer.System(v))
		}
	}
	return c
}

// Variants are the systems that another program measures.
func (c Catalogue) Variants() []Variant {
	var variants []Variant
	for _, k := range c.Kinds {
		for _, s := range k.Systems {
			if v, ok := s.(Variant); ok {
				variants = append(variants, v)
			}
		}
	}
	return variants
}

// kindOf returns the name of the system that this one is a variant of, or its own name.
func (c Catalogue) kindOf(name string) string {
	for _, v := range c.Variants() {
		if v.Label == name {
			return v.Of
		}
	}
	return name
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
