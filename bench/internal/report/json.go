package report

import (
	"encoding/json"
	"io"

	"github.com/lockkeeper/lockkeeper/bench/internal/stats"
)

// object is one line of --json. It is whole in itself, with the run that it belongs to. Ratios that cannot be had are null, and so are figures of what failed.
type object struct {
	Scenario      string             `json:"scenario"`
	System        string             `json:"system"`
	Pairs         *float64           `json:"pairs_per_second"`
	PairsMin      float64            `json:"pairs_per_second_min,omitempty"`
	PairsMax      float64            `json:"pairs_per_second_max,omitempty"`
	P50           *float64           `json:"p50_us"`
	P99           *float64           `json:"p99_us"`
	CPU           *float64           `json:"cpu_s_per_million"`
	ClientCPU     float64            `json:"client_cpu_s_per_million,omitempty"`
	ServerCPU     float64            `json:"server_cpu_s_per_million,omitempty"`
	Connections   *float64           `json:"connections"`
	RSS           *float64           `json:"rss_bytes"`
	Ratio         *float64           `json:"ratio_to_pgx"`
	ToBaseline    float64            `json:"ratio_to_baseline,omitempty"`
	Figure        float64            `json:"figure,omitempty"`
	FigureMin     float64            `json:"figure_min,omitempty"`
	FigureMax     float64            `json:"figure_max,omitempty"`
	Unit          string             `json:"unit,omitempty"`
	Fairness      float64            `json:"fairness,omitempty"`
	MinShare      float64            `json:"min_share,omitempty"`
	Extra         map[string]float64 `json:"extra,omitempty"`
	Rounds        int                `json:"rounds"`
	Others        float64            `json:"others,omitempty"`
	Failed        string             `json:"failed,omitempty"`
	NotApplicable string             `json:"not_applicable,omitempty"`
	Run           *Run               `json:"run"`
}

// JSON writes one object a line, for each scenario and system.
func (r Report) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	for _, row := range r.Rows {
		known := func(v float64) *float64 {
			if v == 0 {
				return nil
			}
			return &v
		}
		line := object{Scenario: row.Scenario, System: row.System,
			Pairs: known(row.Pairs.Median), PairsMin: row.Pairs.Min, PairsMax: row.Pairs.Max, P50: known(row.P50), P99: known(row.P99),
			CPU: known(row.ClientCPU + row.ServerCPU), ClientCPU: row.ClientCPU, ServerCPU: row.ServerCPU,
			Connections: known(row.Conns), RSS: known(row.RSS), Ratio: known(row.Ratio), ToBaseline: row.ToBaseline,
			Fairness: row.Fairness, MinShare: row.MinShare, Extra: row.Extra, Rounds: row.Rounds, Others: r.Others,
			Failed: row.Failed, NotApplicable: row.NotApplicable, Run: &r.Run}
		if row.Unit != "" {
			line.Figure, line.FigureMin, line.FigureMax, line.Unit = row.Figure.Median, row.Figure.Min, row.Figure.Max, row.Unit
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// row is the line as it was before JSON made an object of it.
func (o object) row() Row {
	value := func(v *float64) float64 {
		if v == nil {
			return 0
		}
		return *v
	}
	r := Row{Scenario: o.Scenario, System: o.System, Rounds: o.Rounds, Unit: o.Unit,
		Pairs: stats.Summary{Median: value(o.Pairs), Min: o.PairsMin, Max: o.PairsMax}, P50: value(o.P50), P99: value(o.P99),
		ClientCPU: o.ClientCPU, ServerCPU: o.ServerCPU, RSS: value(o.RSS), Conns: value(o.Connections), Fairness: o.Fairness,
		MinShare: o.MinShare, Extra: o.Extra, Ratio: value(o.Ratio), ToBaseline: o.ToBaseline, Failed: o.Failed,
		NotApplicable: o.NotApplicable}
	r.Figure = r.Pairs
	if o.Unit != "" {
		r.Figure = stats.Summary{Median: o.Figure, Min: o.FigureMin, Max: o.FigureMax}
	}
	return r
}
