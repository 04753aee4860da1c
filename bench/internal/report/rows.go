package report

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// reference is the system that the targets' ratios are taken to.
const reference = "pgx"

// Row is one system in one scenario: the medians of its rounds. It is a line of --json, whole in itself.
type Row struct {
	Scenario  string  `json:"scenario"`
	System    string  `json:"system"`
	Pairs     figure  `json:"pairs_per_second"`
	PairsMin  float64 `json:"pairs_per_second_min,omitempty"`
	PairsMax  float64 `json:"pairs_per_second_max,omitempty"`
	P50       figure  `json:"p50_us"`
	P99       figure  `json:"p99_us"`
	CPU       figure  `json:"cpu_s_per_million"`
	ClientCPU figure  `json:"client_cpu_s_per_million,omitempty"`
	ServerCPU figure  `json:"server_cpu_s_per_million,omitempty"`
	Conns     figure  `json:"connections"`
	RSS       figure  `json:"rss_bytes"`
	// Ratio is the median to the reference's median in the same scenario, and ToBaseline that to the baseline's; 0 where there is
	// none.
	Ratio      figure `json:"ratio_to_pgx"`
	ToBaseline figure `json:"ratio_to_baseline,omitempty"`
	// Figure is the scenario's headline in its unit. It is empty where the scenario is about pairs per second.
	Figure    float64            `json:"figure,omitempty"`
	FigureMin float64            `json:"figure_min,omitempty"`
	FigureMax float64            `json:"figure_max,omitempty"`
	Unit      string             `json:"unit,omitempty"`
	Fairness  float64            `json:"fairness,omitempty"`
	MinShare  float64            `json:"min_share,omitempty"`
	Extra     map[string]float64 `json:"extra,omitempty"`
	Rounds    int                `json:"rounds"`
	// Others and Run are those of the run; they are set in lines of --json alone.
	Others        float64 `json:"others,omitempty"`
	Failed        string  `json:"failed,omitempty"`
	NotApplicable string  `json:"not_applicable,omitempty"`
	Run           *Run    `json:"run"`
}

// figure is null in JSON where nothing was measured.
type figure float64

// MarshalJSON implements [json.Marshaler].
func (f figure) MarshalJSON() ([]byte, error) {
	if f == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// summary is the middle and the ends of what the rounds gave.
type summary struct{ Median, Min, Max float64 }

// headline is what the scenario is about: pairs per second, or its figure in its unit.
func (r Row) headline() summary {
	if r.Unit == "" {
		return summary{float64(r.Pairs), r.PairsMin, r.PairsMax}
	}
	return summary{r.Figure, r.FigureMin, r.FigureMax}
}

// summarise returns zeros for no values. The median of an even number of values is the mean of the middle two.
func summarise(values []float64) summary {
	if len(values) == 0 {
		return summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	median := sorted[half]
	if len(sorted)%2 == 0 {
		median = (sorted[half-1] + sorted[half]) / 2
	}
	return summary{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// rows are in the order of the catalogue.
func rows(c harness.Catalogue, measurements []harness.Measurement) []Row {
	of := map[[2]string][]harness.Result{}
	for _, m := range measurements {
		key := [2]string{m.Scenario, m.System}
		of[key] = append(of[key], m.Result)
	}
	var rows []Row
	for _, sc := range c.Scenarios {
		begin := len(rows)
		median := map[string]float64{} // by system; one that failed has none
		for _, system := range c.SystemNames() {
			if results := of[[2]string{sc.Name, system}]; len(results) > 0 {
				r := row(sc, system, results)
				median[system] = r.headline().Median
				rows = append(rows, r)
			}
		}
		for i := range rows[begin:] {
			r := &rows[begin+i]
			r.ToBaseline = figure(harness.Ratio(median[r.System], median[c.Baseline().Name]))
			if r.Unit != "x" { // a ratio of ratios says nothing of two systems
				r.Ratio = figure(harness.Ratio(median[r.System], median[reference]))
			}
		}
	}
	return rows
}

func row(sc harness.Scenario, system string, results []harness.Result) Row {
	r := Row{Scenario: sc.Name, System: system, Unit: sc.Unit, Rounds: len(results), Extra: map[string]float64{}}
	for _, result := range results {
		// One failure is enough: a figure of the rounds that went well would hide it.
		if result.Failed != "" || result.NotApplicable != "" {
			r.Failed = result.Failed
			r.NotApplicable = strings.TrimPrefix(result.NotApplicable, harness.ErrNotApplicable.Error()+": ")
			return r
		}
	}
	all := func(get func(harness.Result) float64) summary {
		values := make([]float64, len(results))
		for i, result := range results {
			values[i] = get(result)
		}
		return summarise(values)
	}
	median := func(get func(harness.Result) float64) figure { return figure(all(get).Median) }
	pairs := all(func(s harness.Result) float64 { return s.PairsPerSecond })
	r.Pairs, r.PairsMin, r.PairsMax = figure(pairs.Median), pairs.Min, pairs.Max
	r.P50 = median(func(s harness.Result) float64 { return s.P50 })
	r.P99 = median(func(s harness.Result) float64 { return s.P99 })
	r.ClientCPU = median(func(s harness.Result) float64 { return s.ClientCPU })
	r.ServerCPU = median(func(s harness.Result) float64 { return s.ServerCPU })
	r.CPU = r.ClientCPU + r.ServerCPU
	r.RSS = median(func(s harness.Result) float64 { return float64(s.RSSBytes) })
	r.Conns = median(func(s harness.Result) float64 { return float64(s.Connections) })
	r.Fairness = all(func(s harness.Result) float64 { return s.Fairness }).Median
	r.MinShare = all(func(s harness.Result) float64 { return s.MinShare }).Median
	for _, result := range results {
		for name := range result.Extra {
			r.Extra[name] = all(func(s harness.Result) float64 { return s.Extra[name] }).Median
		}
	}
	if sc.Headline != "" {
		f := all(func(s harness.Result) float64 { return s.Extra[sc.Headline] })
		r.Figure, r.FigureMin, r.FigureMax = f.Median, f.Min, f.Max
	}
	return r
}
