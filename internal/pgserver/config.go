package pgserver

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// baseSettings are what every server here has; Options.Settings overrides them.
func baseSettings(durable bool) map[string]string {
	s := map[string]string{
		"max_connections": "300",
		// What pg_hba.conf asks for; PostgreSQL 13 would store passwords in another form.
		"password_encryption": "scram-sha-256",
		// Enough for a few servers side by side on a small machine: a lock manager's tables fit into any cache.
		"shared_buffers": "32MB",
		// In the data folder, which is removed with the server: of a server that was killed the system's would stay until it is booted.
		"dynamic_shared_memory_type": "mmap",
		// A standby can be made at any time.
		"wal_level":             "replica",
		"hot_standby":           "on",
		"max_wal_senders":       "10",
		"max_replication_slots": "10",
		"wal_keep_size":         "256MB",
		"timezone":              "UTC",
		"log_timezone":          "UTC",
		"log_line_prefix":       "%m [%p] %a: ",
		"lc_messages":           "C",
	}
	if !durable {
		// synchronous_commit stays on: with it a commit survives a killed server, which fault tests count on.
		s["fsync"] = "off"
		s["full_page_writes"] = "off"
	}
	return s
}

// writeConfig replaces the server's postgresql.conf.
func (s *Server) writeConfig(extra map[string]string) error {
	all := baseSettings(s.durable)
	maps.Copy(all, s.settings)
	maps.Copy(all, extra)
	all["listen_addresses"] = "127.0.0.1"
	if s.listen.IsValid() {
		all["listen_addresses"] += "," + s.listen.Addr().String()
	}
	all["port"] = strconv.Itoa(s.port)
	all["unix_socket_directories"] = s.socketDir
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s = %s\n", name, quoteSetting(all[name]))
	}
	return s.writeFile("postgresql.conf", b.String())
}

// admit lets the clients of Options.Listen in, with the password.
func (s *Server) admit() error {
	if !s.listen.IsValid() {
		return nil
	}
	path := s.dataDir + "/pg_hba.conf"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "host all all %s scram-sha-256\n", s.listen.Masked())
	return err
}

// writeFile writes a file of the data folder and gives it to the user that runs the server.
func (s *Server) writeFile(name, content string) error {
	path := s.dataDir + "/" + name
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return s.user.own(path)
}

// quoteSetting writes a value as postgresql.conf wants it: quotes doubled, backslashes too, since it reads escapes.
func quoteSetting(v string) string {
	return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(v) + "'"
}
