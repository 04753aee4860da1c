package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/manager"
	"github.com/lockkeeper/lockkeeper/pg"
)

const migrateHelp = `Makes what fencing tokens need in the database: the schema lockkeeper, with two small tables and
two functions. "lockkeeper run --token" and programs with WithFencing need it. Where it is there
already, nothing is done.

The first time the role needs the right to create a schema in the database. Other roles that draw
tokens need USAGE on the schema lockkeeper, SELECT, INSERT and UPDATE on lockkeeper.fence and
SELECT on lockkeeper.version.

Exit status: 0 it is there; 1 it failed; 2 a mistake on the command line.`

func newMigrate() *cobra.Command {
	var dsn string
	cmd := &cobra.Command{
		Use:     "migrate",
		Short:   "Makes the tables of fencing tokens",
		Long:    migrateHelp,
		Example: "  lockkeeper migrate",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := migrate(cmd, dsn); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "The schema lockkeeper is there.")
			return err
		},
	}
	addDSN(cmd.Flags(), &dsn)
	return cmd
}

func migrate(cmd *cobra.Command, flag string) error {
	dsn, where, err := resolveDSN(cmd, flag)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	// pgx's errors repeat parts of a connection string, which may hold a password. So the library, whose errors do not, connects first.
	if err := tryConnecting(ctx, dsn); err != nil {
		return fmt.Errorf("connecting by %s: %w", where, trimmed{err})
	}
	config, err := pgxpool.ParseConfig(strings.TrimRight(dsn, "\r\n")) // a pool's parameters are none of the server's
	if err != nil {
		return fmt.Errorf("connecting by %s: the connection string cannot be parsed", where)
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // it leaves no statement behind on a pooler's connection
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("connecting by %s: the second connection failed, and the first did not: try again", where)
	}
	defer closeBriefly(ctx, conn.Close) // what was done is committed
	return manager.Migrate(ctx, conn)
}

// tryConnecting opens a session and closes it.
func tryConnecting(ctx context.Context, dsn string) error {
	source, err := pg.FromDSN(dsn)
	if err != nil {
		return err
	}
	conn, err := source.Connect(ctx)
	if err != nil {
		return err
	}
	closeBriefly(ctx, conn.Close)
	return nil
}

// closeBriefly closes a connection, also where ctx has ended.
func closeBriefly(ctx context.Context, closeIt func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancel()
	_ = closeIt(ctx) // the server ends what the end of this process leaves
}
