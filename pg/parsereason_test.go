package pg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The reason why a DSN cannot be parsed is found in what pgx says of it, and not in the DSN.
func TestTheReasonWhyADSNCannotBeParsed(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	const all = "host=orders-service target_session_attrs=read-write application_name=connect_timeout "
	for dsn, part := range map[string]string{
		all + "sslmode=verify-full sslrootcert=/nowhere":            "TLS files",
		all + "sslmode=verify-full sslrootcert=" + junk:             "TLS files",
		all + "sslmode=require sslcert=" + junk + " sslkey=" + junk: "TLS files",
		all + "sslmode=require sslcert=" + junk + " sslkey=''":      "only one of sslcert and sslkey",
		all + "sslmode=on":                       "sslmode",
		all + "sslcertmode=on":                   "sslcertmode",
		all + "port=x":                           "port",
		all + "port=1,2,3":                       "several ports",
		all + "connect_timeout=5s":               "connect_timeout is not",
		all + "channel_binding=on":               "channel_binding",
		all + "require_auth=on":                  "require_auth",
		all + "min_protocol_version=4":           "protocol_version",
		all + "service=none servicefile=" + junk: "service file",
		"postgres://u:%zz" + secret + "@orders-service/sslrootcert?target_session_attrs=any": "percent-encoded",
		"host=orders-service target_session_attrs=master":                                    "target_session_attrs",
	} {
		_, err := FromDSN(dsn)
		if err == nil || !strings.Contains(err.Error(), "the DSN") || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v", dsn, err)
		}
		keepsTheSecret(t, err)
	}
}
