package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/manager"
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
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("connecting by %s: %w", where, err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // it leaves no statement behind on a pooler's connection
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting by %s: %w", where, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
		defer cancel()
		_ = conn.Close(ctx) // what was done is committed
	}()
	return manager.Migrate(ctx, conn)
}
