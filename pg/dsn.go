package pg

import (
	"errors"
	"strings"

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

// errParameters never quotes what it complains of: that may hold the password.
var errParameters = errors.New("the DSN has a parameter that PostgreSQL cannot have: quotes around the DSN, or something before " +
	"postgres://, make one of a part of it (not quoted here, as it may hold a password)")

// checkParameters refuses what pgx makes of a URL that it does not take for one: the server would quote it, password and all, in its
// error and in its log.
func checkParameters(config *pgx.ConnConfig) error {
	for name, value := range config.RuntimeParams {
		if !isParameter(name) || strings.HasPrefix(value, "postgres://") || strings.HasPrefix(value, "postgresql://") {
			return errParameters
		}
	}
	return nil
}

// isParameter reports whether PostgreSQL takes a text for the name of a parameter: valid_custom_variable_name in
// src/backend/utils/misc/guc.c.
func isParameter(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x80
		if !letter && (i == 0 || r != '$' && r != '.' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != ""
}
