package main

import (
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
)

const serverHelp = `Starts a PostgreSQL of its own in a temporary folder, prints how to reach it, and removes it
at Ctrl-C: to try the command lockkeeper, or a program of yours, where no server is at hand.
It listens on this machine alone. The connection string works for the user who started it.`

const serverExamples = `  demo server
      then, in another terminal, the lines that it prints`

// triable are lines for another terminal, after the server's connection string.
const triable = `%s is ready until Ctrl-C. In other terminals:

  export LOCKKEEPER_DSN='%s'
  lockkeeper run deploy -- sleep 20    # in one, and the same in another: the second waits
  lockkeeper ls deploy                 # who holds it, who waits?
`

func newServer() *cobra.Command {
	return &cobra.Command{
		Use:     "server",
		Short:   "A throwaway PostgreSQL to try things on, until Ctrl-C",
		Long:    serverHelp,
		Example: serverExamples,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			screen := progressOf(cmd, false)
			s, err := server.Open(cmd.Context(), "", 0, screen)
			if err != nil {
				return err
			}
			defer func() {
				if closeErr := s.Close(); err == nil {
					err = closeErr
				}
			}()
			if err := screen.Say(triable, s.Name, s.DSN); err != nil {
				return err
			}
			<-cmd.Context().Done()
			return nil
		},
	}
}
