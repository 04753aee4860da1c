package report

import (
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/stats"
)

// Reference is the system that the targets' ratios are taken to.
const Reference = "pgx"

// Row is one system in one scenario: the medians of its rounds.
type Row struct {
	Scenario, System string
	Rounds           int
	// Figure is what the scenario is about: pairs per second, or its headline in its unit.
	Figure    stats.Summary
	Unit      string
	Pairs     stats.Summary
	P50, P99  float64 // us
	ClientCPU float64 // s per million pairs
	ServerCPU float64
	RSS       float64 // bytes
	Conns     float64
	Fairness  float64
	MinShare  float64
	Extra     map[string]float64
	// Ratio is the median to the reference's median in the same scenario, and ToBaseline that to the baseline's median; 0
	// where there is none.
	Ratio         float64
	ToBaseline    float64
	Failed        string
	NotApplicable string
}

// Rows are in the order of the catalogue.
func Rows(c harness.Catalogue, measurements []harness.Measurement) []Row {
	of := map[[2]string][]scenario.Result{}
	for _, m := range measurements {
		key := [2]string{m.Scenario, m.System}
		of[key] = append(of[key], m.Result)
	}
	baseline := ""
	for _, v := range c.Variants() {
		baseline = v.Label
	}
	var rows []Row
	for _, sc := range c.Scenarios {
		begin := len(rows)
		for _, system := range c.Systems() {
			if results := of[[2]string{sc.Name, system}]; len(results) > 0 {
				rows = append(rows, row(sc, system, results))
			}
		}
		compare(rows[begin:], baseline)
	}
	return rows
}

func compare(rows []Row, baseline string) {
	reference, before := 0.0, 0.0
	for _, r := range rows {
		switch r.System { // one that failed has no figure
		case Reference:
			reference = r.Figure.Median
		case baseline:
			before = r.Figure.Median
		}
	}
	for i := range rows {
		rows[i].ToBaseline = stats.Ratio(rows[i].Figure.Median, before)
		if rows[i].Unit != "x" { // a ratio of ratios says nothing of two systems
			rows[i].Ratio = stats.Ratio(rows[i].Figure.Median, reference)
		}
	}
}

func row(sc scenario.Scenario, system string, results []scenario.Result) Row {
	r := Row{Scenario: sc.Name, System: system, Unit: sc.Unit, Rounds: len(results), Extra: map[string]float64{}}
	for _, result := range results {
		// One failure is enough: a figure of the rounds that went well would hide it.
		if result.Failed != "" {
			r.Failed = result.Failed
			return r
		}
		if result.NotApplicable != "" {
			r.NotApplicable = strings.TrimPrefix(result.NotApplicable, scenario.ErrNotApplicable.Error()+": ")
			return r
		}
	}
	values := func(get func(scenario.Result) float64) []float64 {
		out := make([]float64, len(results))
		for i, result := range results {
			out[i] = get(result)
		}
		return out
	}
	median := func(get func(scenario.Result) float64) float64 { return stats.Median(values(get)) }
	r.Pairs = stats.Summarise(values(func(s scenario.Result) float64 { return s.PairsPerSecond }))
	r.P50 = median(func(s scenario.Result) float64 { return s.P50 })
	r.P99 = median(func(s scenario.Result) float64 { return s.P99 })
	r.ClientCPU = median(func(s scenario.Result) float64 { return s.ClientCPU })
	r.ServerCPU = median(func(s scenario.Result) float64 { return s.ServerCPU })
	r.RSS = median(func(s scenario.Result) float64 { return float64(s.RSSBytes) })
	r.Conns = median(func(s scenario.Result) float64 { return float64(s.Connections) })
	r.Fairness = median(func(s scenario.Result) float64 { return s.Fairness })
	r.MinShare = median(func(s scenario.Result) float64 { return s.MinShare })
	for _, result := range results {
		for name := range result.Extra {
			r.Extra[name] = median(func(s scenario.Result) float64 { return s.Extra[name] })
		}
	}
	r.Figure = r.Pairs
	if sc.Headline != "" {
		r.Figure = stats.Summarise(values(func(s scenario.Result) float64 { return s.Extra[sc.Headline] }))
	}
	return r
}
