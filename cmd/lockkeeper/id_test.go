//go:build unix

package main

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// What id prints is the server's truth: the SQL takes the very lock that run takes, in the columns that it names.
func TestIDIsTheServers(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	conn, err := pgconn.Connect(t.Context(), d.DSNOf(d.name))
	d.must(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	ask := func(sql string) [][][]byte {
		t.Helper()
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return results[0].Rows
	}
	lockkeeper := func(args ...string) (string, int) {
		cmd := exec.Command(program(t), args...)
		cmd.Env = environ(d.DSNOf(d.name))
		out, err := cmd.Output()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, naming := range []string{"--hash=fnv1a", "--hash=postgres", `--hash=postgres --namespace=o'clü\`, "--namespace=billing"} {
		for _, key := range []string{"deploy", `it's a \ "key"; Schlüssel 鍵`, "\x1b[31mred\u202e\n", "no text: \xff"} {
			flags := strings.Fields(naming)
			text, _ := lockkeeper(append(append([]string{"id", "--json"}, flags...), "--", key)...)
			var ids []identity
			d.must(t, json.Unmarshal([]byte(text), &ids))
			id := ids[0]
			if text := id.Try + id.Lock; printable(text) != text {
				t.Errorf("a terminal obeys %q", text)
			}
			if got := string(ask(id.Try)[0][0]); got != "t" {
				t.Fatalf("%s: %s", id.Try, got)
			}
			row := ask("SELECT classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")[0]
			for i, want := range []string{strconv.Itoa(int(id.ClassID)), strconv.Itoa(int(id.ObjID)), "1"} {
				if string(row[i]) != want {
					t.Errorf("%s %q: column %d is %s, want %s", naming, key, i, row[i], want)
				}
			}
			if rows := ask(id.Who); len(rows) != 1 {
				t.Errorf("%s: %d rows", id.Who, len(rows))
			}
			run := append(append([]string{"run", "--try"}, flags...), key, "--", "true")
			if _, status := lockkeeper(run...); status != exitNotAcquired {
				t.Errorf("%s %q: run --try ends with %d", naming, key, status)
			}
			if got := string(ask(id.Unlock)[0][0]); got != "t" {
				t.Fatalf("%s: %s", id.Unlock, got)
			}
			if _, status := lockkeeper(run...); status != exitOK {
				t.Errorf("%s %q: the lock is free, and run --try ends with %d", naming, key, status)
			}
		}
	}
}
