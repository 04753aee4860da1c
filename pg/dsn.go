package pg

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"
)

// What is done about a DSN beside pgx's parsing of it.

// parseDSN parses a DSN as it stands now: passwords, services and certificates are read from their files.
func parseDSN(dsn string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(strings.TrimRight(dsn, " \t\r\n"))
	if err != nil {
		return nil, err
	}
	return config, completeConfig(config)
}

// completeConfig takes out what is pgxpool's, and has the server speak UTF-8, as Go does: names are compared.
func completeConfig(config *pgx.ConnConfig) error {
	for name := range config.RuntimeParams {
		if strings.HasPrefix(name, "pool_") { // PostgreSQL has none that begins so
			delete(config.RuntimeParams, name)
		}
	}
	if err := checkParameters(config); err != nil {
		return err
	}
	if config.RuntimeParams == nil {
		config.RuntimeParams = make(map[string]string)
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	return nil
}

// dsnError says what is wrong with a DSN that pgx parses. It never quotes what it complains of: that may hold the password.
type dsnError string

func (e dsnError) Error() string { return string(e) + " (not quoted here, as it may hold a password)" }

const (
	errParameters dsnError = "the DSN has a parameter that PostgreSQL cannot have: quotes around the DSN, or something before " +
		"postgres://, make one of a part of it"
	errValues dsnError = "the DSN has a password, or another DSN, inside the value of a parameter: pairs of key=value are separated by " +
		"blanks, and a URL's parameters begin with a question mark"
	errFragment dsnError = "the DSN has a #, and pgx reads a URL up to there: in a user's name or a password it must be percent-encoded, as %23"
)

// fragment is the beginning of a URL up to its fragment. Of postgres://app:12#3@db/orders pgx makes the host app and the port 12.
var fragment = regexp.MustCompile(`(?i)^\s*postgres(?:ql)?://[^#]*#`)

// checkParameters refuses what pgx makes of a DSN that it reads otherwise than it was meant: the server would quote it, password and
// all, in its error and in its log.
func checkParameters(config *pgx.ConnConfig) error {
	if fragment.MatchString(config.ConnString()) {
		return errFragment
	}
	for name, value := range config.RuntimeParams {
		if !isParameter(name) || strings.HasPrefix(value, "postgres://") || strings.HasPrefix(value, "postgresql://") {
			return errParameters
		}
		if name != "options" && secretPair.MatchString(value) { // a setting of somebody's own may be named so
			return errValues
		}
	}
	values := []string{config.User, config.Database, config.Host}
	for _, other := range config.Fallbacks {
		values = append(values, other.Host)
	}
	for _, value := range values {
		if dsnURL.MatchString(value) || secretPair.MatchString(value) {
			return errValues
		}
	}
	if slashInPassword.MatchString(config.Database) {
		return errValues
	}
	return nil
}

// slashInPassword is the database's name where the password of a URL has a slash: the URL's host ends there.
var slashInPassword = regexp.MustCompile(`@[^@]*/`)

// isParameter reports whether PostgreSQL takes a text for the name of a parameter: valid_custom_variable_name in
// src/backend/utils/misc/guc.c. That takes a byte order mark, a typographic quote or a no-break space for a letter; this does not.
func isParameter(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x80 && unicode.IsLetter(r)
		if !letter && (i == 0 || r != '$' && r != '.' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != ""
}
