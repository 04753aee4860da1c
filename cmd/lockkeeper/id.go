package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/hashing"
)

const idHelp = `Prints the number that the server knows a key by, and the SQL to take its lock by hand and to see
who holds it. It needs no server.

The number depends on --hash, --namespace and the secret: they must be those of the programs. With
--hash postgres the SQL computes the number itself.`

const idExamples = `  lockkeeper id orders/42
  psql -c "SELECT pg_try_advisory_lock($(lockkeeper id --number orders/42))"
  lockkeeper id --hash postgres --namespace billing orders/42 --json`

// identity is a key's lock at the server.
type identity struct {
	Key      string `json:"key"`
	ID       string `json:"id"`
	ClassID  uint32 `json:"classid"`
	ObjID    uint32 `json:"objid"`
	ObjSubID int    `json:"objsubid"`
	Lock     string `json:"lock_sql"`
	Try      string `json:"try_sql"`
	Unlock   string `json:"unlock_sql"`
	InTx     string `json:"transaction_sql"`
	Who      string `json:"who_sql"`
}

func newID() *cobra.Command {
	var n naming
	var asJSON, numberOnly bool
	cmd := &cobra.Command{
		Use:               "id KEY...",
		Short:             "Prints a key's number and the SQL for it",
		Long:              idHelp,
		Example:           idExamples,
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "which key? lockkeeper id KEY")
			}
			return checkKeys(cmd, args)
		},
		RunE: func(cmd *cobra.Command, keys []string) error {
			f, err := n.function(cmd)
			if err != nil {
				return err
			}
			ids := make([]identity, len(keys))
			for i, key := range keys {
				ids[i] = n.identify(f, key)
			}
			return printIdentities(cmd.OutOrStdout(), ids, asJSON, numberOnly)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&asJSON, "json", false, "print a JSON array, with an object for each key; ids are strings")
	flags.BoolVar(&numberOnly, "number", false, "print the number alone, one a line")
	cmd.MarkFlagsMutuallyExclusive("json", "number")
	n.add(cmd)
	return cmd
}

// identify computes all that there is to know of a key.
func (n *naming) identify(f hashing.Func, key string) identity {
	id := hashing.Namespaced(n.namespace, f)(key)
	number := fmt.Sprintf("'%d'::bigint", id) // in quotes: the lowest number cannot be written otherwise
	argument := number
	if text := n.namespace + key; n.hash == hashPostgres && utf8.ValidString(text) && !strings.ContainsRune(text, 0) { // else it is no text to the server
		argument = "hashtextextended(" + quoteSQL(key) + ", 0)"
		if n.namespace != "" {
			argument = fmt.Sprintf("hashtextextended(chr(31) || %s, 0)", quoteSQL(strconv.Itoa(len(n.namespace))+":"+n.namespace+key))
		}
	}
	class, object := uint32(uint64(id)>>32), uint32(uint64(id))
	return identity{
		Key: key, ID: strconv.FormatInt(id, 10), ClassID: class, ObjID: object, ObjSubID: 1,
		Lock:   "SELECT pg_advisory_lock(" + argument + ")",
		Try:    "SELECT pg_try_advisory_lock(" + argument + ")",
		Unlock: "SELECT pg_advisory_unlock(" + argument + ")",
		InTx:   "SELECT pg_advisory_xact_lock(" + argument + ")",
		Who: fmt.Sprintf("SELECT l.granted, l.mode, a.pid, a.application_name, a.client_addr FROM pg_locks l JOIN pg_stat_activity a "+
			"USING (pid) WHERE l.locktype = 'advisory' AND l.classid = %d AND l.objid = %d AND l.objsubid = 1 AND "+
			"l.database = (SELECT oid FROM pg_database WHERE datname = current_database())", class, object),
	}
}

// quoteSQL is a literal that means the same whatever standard_conforming_strings is, and holds nothing that a terminal would obey.
func quoteSQL(text string) string {
	var b strings.Builder
	prefix := ""
	for _, r := range text {
		switch {
		case r == '\'':
			b.WriteString("''")
		case r == '\\':
			prefix = "E"
			b.WriteString(`\\`)
		case !unicode.IsPrint(r):
			prefix = "E"
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return prefix + "'" + b.String() + "'"
}

func printIdentities(w io.Writer, ids []identity, asJSON, numberOnly bool) error {
	if asJSON {
		return printJSON(w, ids, false)
	}
	for i, id := range ids {
		text := id.ID + "\n"
		if !numberOnly {
			text = fmt.Sprintf("key        %s\nid         %s\npg_locks   classid %d, objid %d, objsubid %d\n\nwait       %s;\ntry        %s;\n"+
				"release    %s;\nin a tx    %s;\nwho        %s;\n", printable(id.Key), id.ID, id.ClassID, id.ObjID, id.ObjSubID, id.Lock, id.Try, id.Unlock, id.InTx, id.Who)
			if i > 0 {
				text = "\n" + text
			}
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}
