// Package measure reads what processes have used: CPU time, memory, connections. It reads them from Linux's /proc;
// elsewhere the figures are missing, which is said as an error.
package measure
