package report

import (
	"encoding/json"
	"io"
)

// object is one line of --json. Ratios to the baseline that cannot be had are null, and so are figures of what failed.
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
	Figure        float64            `json:"figure,omitempty"`
	Unit          string             `json:"unit,omitempty"`
	Fairness      float64            `json:"fairness,omitempty"`
	MinShare      float64            `json:"min_share,omitempty"`
	Extra         map[string]float64 `json:"extra,omitempty"`
	Rounds        int                `json:"rounds"`
	Failed        string             `json:"failed,omitempty"`
	NotApplicable string             `json:"not_applicable,omitempty"`
}

// JSON writes one object a line, for each scenario and system.
func (all Report) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	for _, r := range all.Rows {
		known := func(v float64) *float64 {
			if v == 0 {
				return nil
			}
			return &v
		}
		line := object{Scenario: r.Scenario, System: r.System,
			Pairs: known(r.Pairs.Median), PairsMin: r.Pairs.Min, PairsMax: r.Pairs.Max, P50: known(r.P50), P99: known(r.P99),
			CPU: known(r.ClientCPU + r.ServerCPU), ClientCPU: r.ClientCPU, ServerCPU: r.ServerCPU,
			Connections: known(r.Conns), RSS: known(r.RSS), Ratio: known(r.Ratio),
			Fairness: r.Fairness, MinShare: r.MinShare, Extra: r.Extra, Rounds: r.Rounds,
			Failed: r.Failed, NotApplicable: r.NotApplicable}
		if r.Unit != "" {
			line.Figure, line.Unit = r.Figure.Median, r.Unit
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
