//go:build !linux

package main

import "github.com/spf13/cobra"

const chaosPartName = "chaos-part"

// addChaos adds nothing: chaos needs what only Linux has.
func addChaos(*cobra.Command, *int) {}
