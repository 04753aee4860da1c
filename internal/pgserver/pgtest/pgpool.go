//go:build unix

package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// EnvPoolers is true where the poolers that only the matrix tries have to be there.
const EnvPoolers = "LOCKKEEPER_POOLERS"

// Pgpool is a pgpool-II before a server and its standbys.
type Pgpool struct {
	DSN string

	tb     testing.TB
	folder string
	socket string
}

// NewPgpool starts a pgpool-II with these settings beside the usual ones. The first server is the primary; each has the weight 1 in load
// balancing, unless a setting backend_weightN says otherwise. It goes with the test, which is skipped where there is no pgpool-II, and
// fails where LOCKKEEPER_POOLERS=true, as in the matrix of poolers.
func NewPgpool(tb testing.TB, servers []*pgserver.Server, settings map[string]string) *Pgpool {
	tb.Helper()
	return NewPgpoolAt(tb, servers, Place{}, settings)
}

// NewPgpoolAt is NewPgpool in another place than this machine's own network.
func NewPgpoolAt(tb testing.TB, servers []*pgserver.Server, place Place, settings map[string]string) *Pgpool {
	tb.Helper()
	path, err := pgserver.FindPgpool()
	switch {
	case errors.Is(err, pgserver.ErrNoPgpool) && os.Getenv(EnvPoolers) != "true":
		tb.Skip("this test needs pgpool-II: ", err)
	case err != nil:
		tb.Fatal(err)
	}
	owner := ownerOf(tb, servers[0].DataDir())
	p := &Pgpool{tb: tb}
	if p.folder, err = os.MkdirTemp("", "pgpool"); err != nil { // the test's own folder is closed to the other user
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(p.folder) })
	port := freePort(tb)
	p.socket = filepath.Join(p.folder, ".s.PGSQL."+port)
	p.DSN = fmt.Sprintf("postgres://%s@%s:%s/%s?sslmode=disable", pgserver.Superuser, place.address(), port, pgserver.Database)
	all := map[string]string{
		"backend_clustering_mode": "streaming_replication", "listen_addresses": place.address(), "port": port, "socket_dir": p.folder,
		"pcp_listen_addresses": "", "pcp_port": freePort(tb), "pcp_socket_dir": p.folder, "wd_ipc_socket_dir": p.folder,
		"pid_file_name": filepath.Join(p.folder, "pid"), "logdir": p.folder, "pool_passwd": "", "num_init_children": "40",
		"sr_check_user": pgserver.Superuser, "sr_check_database": pgserver.Database, "sr_check_period": "1", "log_per_node_statement": "on",
	}
	for i, s := range servers {
		n := fmt.Sprint(i)
		all["backend_hostname"+n], all["backend_port"+n], all["backend_data_directory"+n] = s.SocketDir(), fmt.Sprint(s.Port()), s.DataDir()
		all["backend_weight"+n], all["backend_flag"+n] = "1", "DISALLOW_TO_FAILOVER"
	}
	maps.Copy(all, settings)
	var text strings.Builder
	for name, value := range all {
		fmt.Fprintf(&text, "%s = '%s'\n", name, value)
	}
	conf := filepath.Join(p.folder, "conf")
	err = errors.Join(os.WriteFile(conf, []byte(text.String()), 0o600), os.Chown(conf, owner[0], owner[1]),
		os.Chown(p.folder, owner[0], owner[1]))
	if err != nil {
		tb.Fatal(err)
	}
	p.start(place.command(p.folder, owner, path, "-n", "-f", conf, "-F", os.DevNull, "-a", os.DevNull), len(servers))
	return p
}

func (p *Pgpool) start(cmd *exec.Cmd, servers int) {
	p.tb.Helper()
	log, err := os.Create(filepath.Join(p.folder, "log"))
	if err != nil {
		p.tb.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.tb.Fatal(err)
	}
	p.tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // its fast shutdown, which frees its shared memory; a killed one leaves it
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for again := time.NewTicker(20 * time.Millisecond); ; {
		err := p.ready(ctx, servers)
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			p.tb.Fatal("pgpool-II does not serve: ", err, "\n", p.Log())
		}
	}
}

// ready reports whether pgpool-II serves, and knows which of its servers is the primary.
func (p *Pgpool) ready(ctx context.Context, servers int) error {
	rows, err := pgserver.Ask(ctx, p.socket, "SHOW pool_nodes")
	if err != nil {
		return err
	}
	primary, up := 0, 0
	for _, row := range rows {
		for _, value := range row {
			switch value {
			case "primary", "main":
				primary++
			case "up":
				up++
			}
		}
	}
	if primary == 0 || up < servers {
		return fmt.Errorf("%d primaries, %d servers up", primary, up)
	}
	return nil
}

// Log is what a pgpool-II has logged: each statement that it has sent, and to which server, among it.
func (p *Pgpool) Log() string {
	p.tb.Helper()
	text, err := os.ReadFile(filepath.Join(p.folder, "log"))
	if err != nil {
		p.tb.Fatal(err)
	}
	return string(text)
}

// freePort is a port that nobody listens on.
func freePort(tb testing.TB) string {
	tb.Helper()
	port, err := pgserver.FreePort(tb.Context(), "127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	return strconv.Itoa(port)
}
