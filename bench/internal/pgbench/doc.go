// Package pgbench runs PostgreSQL's own load generator.
package pgbench
