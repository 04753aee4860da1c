package report

// Jain is Jain's index of fairness: 1 where all have the same, 1/n where one has everything. Nothing at all to share
// out is 0: no fairness was seen.
func Jain(shares []uint64) float64 {
	var sum, squares float64
	for _, s := range shares {
		x := float64(s)
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(shares)) * squares)
}
