// Package chaos is a run from its stage to its verdict: worker processes take locks, a nemesis breaks things by a schedule
// that its seed determines, and everything that was done is checked afterwards. See the packages below it: plan, event,
// history, player, forward, stage, nemesis, summary.
package chaos
