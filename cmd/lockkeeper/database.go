package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/commandline"
	"github.com/lockkeeper/lockkeeper/manager"
)

// naming is how ids are made of keys: it must be the same for all who share the locks.
type naming struct {
	namespace  string
	hash       string
	secretFile string
}

// The names of the hash functions.
const (
	hashFNV1a    = "fnv1a"
	hashPostgres = "postgres"
	hashKeyed    = "keyed"
)

var hashes = []string{hashFNV1a, hashPostgres, hashKeyed}

func (n *naming) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&n.namespace, "namespace", os.Getenv("LOCKKEEPER_NAMESPACE"),
		"in front of every key (default $LOCKKEEPER_NAMESPACE)")
	flags.StringVar(&n.hash, "hash", envOr("LOCKKEEPER_HASH", hashFNV1a), "how ids are made of keys: "+strings.Join(hashes, ", "))
	flags.StringVar(&n.secretFile, "secret-file", os.Getenv("LOCKKEEPER_SECRET_FILE"), "the file with the secret of --hash keyed")
	for _, name := range []string{"namespace", "secret-file"} {
		flags.Lookup(name).DefValue = "" // a help page shows nobody's environment
	}
	flags.Lookup("hash").DefValue = hashFNV1a
	// It could only complain about a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("hash", cobra.FixedCompletions(hashes, cobra.ShellCompDirectiveNoFileComp))
}

func envOr(name, value string) string {
	if set := os.Getenv(name); set != "" {
		return set
	}
	return value
}

// function is the hash without the namespace.
func (n *naming) function(cmd *cobra.Command) (hashing.Func, error) {
	if n.secretFile != "" && n.hash != hashKeyed && cmd.Flags().Changed("secret-file") {
		return nil, usage(cmd, "--secret-file is for --hash keyed")
	}
	switch n.hash {
	case hashFNV1a:
		return hashing.FNV1a, nil
	case hashPostgres:
		return hashing.Postgres, nil
	case hashKeyed:
		if n.secretFile == "" {
			return nil, usage(cmd, "--hash keyed needs the secret's file: --secret-file, or $LOCKKEEPER_SECRET_FILE")
		}
		secret, err := os.ReadFile(n.secretFile)
		if err != nil {
			return nil, usage(cmd, "the secret cannot be read: %w", err)
		}
		f, err := hashing.Keyed([]byte(strings.TrimRight(string(secret), "\r\n")))
		if err != nil {
			return nil, usage(cmd, "the secret cannot be used: %w", err)
		}
		return f, nil
	}
	if commandline.MayHoldPassword(n.hash) {
		return nil, usage(cmd, "--hash is not one of %s", strings.Join(hashes, ", "))
	}
	return nil, usage(cmd, "--hash is %q: it must be one of %s", n.hash, strings.Join(hashes, ", "))
}

// database is how to reach the server.
type database struct {
	naming
	dsn    string
	pooled bool // by a pooler in transaction mode
}

func (d *database) add(cmd *cobra.Command) {
	d.naming.add(cmd)
	flags := cmd.Flags()
	addDSN(flags, &d.dsn)
	flags.BoolVar(&d.pooled, "transaction-pooler", isOn("LOCKKEEPER_TRANSACTION_POOLER"),
		"a pooler in transaction mode stands before the server (default if $LOCKKEEPER_TRANSACTION_POOLER is set, and not 0 or false)")
	flags.Lookup("transaction-pooler").DefValue = "false"
}

// isOn reports whether a variable is set, and not to what means no.
func isOn(name string) bool {
	value := os.Getenv(name)
	yes, err := strconv.ParseBool(value)
	return yes || err != nil && value != ""
}

func addDSN(flags *pflag.FlagSet, dsn *string) {
	flags.StringVar(dsn, "dsn", "", "connection string, without a password (default: see lockkeeper --help)")
}

// secretInDSN is a password in a connection string, in either form. It rather sees one too many.
var secretInDSN = regexp.MustCompile(`(?i)password\s*=|://[^@/?]*:[^@]*@`)

// resolve finds the connection string, and says where.
func resolveDSN(cmd *cobra.Command, flag string) (dsn, where string, err error) {
	if os.Getenv("PGHOSTADDR") != "" { // psql would go there, whatever else names a host
		return "", "", usage(cmd, "PGHOSTADDR is set, which this command does not know, so that it could lock on another server than psql works on: "+
			"put the address into PGHOST, or into the connection string, and unset PGHOSTADDR")
	}
	if cmd.Flags().Changed("dsn") {
		switch {
		case flag == "":
			return "", "", usage(cmd, "--dsn is empty: leave it out for the environment's")
		case secretInDSN.MatchString(flag):
			return "", "", usage(cmd, "--dsn seems to hold a password, which other users of this machine can read; put it into "+
				"$LOCKKEEPER_DSN, $PGPASSWORD, ~/.pgpass (passfile=...) or a service file (service=...)")
		}
		return flag, "--dsn", nil
	}
	for _, name := range []string{"LOCKKEEPER_DSN", "DATABASE_URL"} {
		if dsn := os.Getenv(name); dsn != "" {
			return dsn, "$" + name, nil
		}
	}
	for _, name := range []string{"PGHOST", "PGSERVICE", "PGPORT", "PGDATABASE", "PGUSER"} {
		if os.Getenv(name) != "" {
			return "", "$" + name + " and other variables of PostgreSQL's", nil
		}
	}
	return "", "PostgreSQL's defaults, as no LOCKKEEPER_DSN, DATABASE_URL or PGHOST is set", nil
}

// open opens a manager. app is its application_name, where the connection has none of its own.
func (d *database) open(ctx context.Context, cmd *cobra.Command, app string, opts ...manager.Option) (*manager.Manager, error) {
	hash, err := d.function(cmd)
	if err != nil {
		return nil, err
	}
	dsn, where, err := resolveDSN(cmd, d.dsn)
	if err != nil {
		return nil, err
	}
	opts = append(opts, manager.WithHash(hash), manager.WithNamespace(d.namespace))
	if d.pooled {
		opts = append(opts, manager.WithTransactionPooler())
	}
	if config, err := pgx.ParseConfig(dsn); err != nil || config.RuntimeParams["application_name"] == "" {
		opts = append(opts, manager.WithApplicationName(app))
	}
	m, err := manager.Open(ctx, dsn, opts...)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
			return nil, cause
		}
		return nil, fmt.Errorf("connecting by %s: %w%s%s", where, trimmed{err}, passwordHint(dsn, err), d.poolerHint(err))
	}
	return m, nil
}

// poolerHint says how to give this command the option that the error names.
func (d *database) poolerHint(err error) string {
	if d.pooled || !errors.Is(err, manager.ErrUnsafe) || !strings.Contains(err.Error(), "WithTransactionPooler") {
		return ""
	}
	return "; for this command that is --transaction-pooler, or LOCKKEEPER_TRANSACTION_POOLER=1"
}

// passwordHint says so where a password was refused, and none had been given: the server calls that a wrong one.
func passwordHint(dsn string, err error) string {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || refused.Code != "28P01" {
		return ""
	}
	if config, err := pgx.ParseConfig(dsn); err != nil || config.Password != "" {
		return ""
	}
	return "; none was given: put it into $LOCKKEEPER_DSN, $PGPASSWORD, ~/.pgpass (passfile=...) or a service file (service=...)"
}

// trimmed is an error of the library's whose text does not begin with the library's name.
type trimmed struct{ error }

func (t trimmed) Error() string { return trimName(t.error.Error()) }
func (t trimmed) Unwrap() error { return t.error }

// closeBound is far beyond what closing takes where the server answers, and what it may take where it does not.
const closeBound = 10 * time.Second

// closeManager closes it, also where the context has ended.
func closeManager(ctx context.Context, m *manager.Manager) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancel()
	return m.Close(ctx)
}

// applicationName is one that shows the keys in pg_stat_activity, which keeps 63 bytes of it, in ASCII.
func applicationName(command string, keys []string) string {
	name := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, "lockkeeper "+command+" "+strings.Join(keys, " "))
	const most = 63
	if len(name) > most {
		name = name[:most-3] + "..."
	}
	return name
}
