//go:build never

package directives
