package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Standby makes a second server that streams from this one, and returns when it accepts read-only connections. It has
// the same roles, password and settings. It is copied by the server's backup functions and not by pg_basebackup, which
// some distributions of the binaries leave out.
func (s *Server) Standby(ctx context.Context) (*Server, error) {
	t, err := prepare(ctx, Options{
		BinDir: s.binDir, TempDir: filepath.Dir(s.dir), Settings: s.settings, Listen: s.listen, Durable: s.durable, Log: s.log,
	})
	if err != nil {
		return nil, err
	}
	t.password = s.password
	if err := t.follow(ctx, s); err != nil {
		return nil, errors.Join(fmt.Errorf("pgserver: standby: %w", err), t.Close())
	}
	return t, nil
}

func (s *Server) follow(ctx context.Context, primary *Server) error {
	if err := s.copyFrom(ctx, primary); err != nil {
		return err
	}
	if err := s.writeFile("standby.signal", ""); err != nil {
		return err
	}
	return s.startFirst(ctx, following(primary))
}

func following(primary *Server) map[string]string {
	return map[string]string{
		"primary_conninfo": fmt.Sprintf("host=%s port=%d user=%s application_name=standby",
			primary.socketDir, primary.port, Superuser),
	}
}

// Follow makes this server a standby of another, from a copy of that one: its own data, and what it was before, are
// gone. It stops where it runs, keeps its port and its folder, and returns when it accepts read-only connections.
func (s *Server) Follow(ctx context.Context, primary *Server) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.stop(ctx, Immediate); err != nil {
		return err
	}
	if err := os.RemoveAll(s.dataDir); err != nil {
		return err
	}
	if err := s.copyFrom(ctx, primary); err != nil {
		return fmt.Errorf("pgserver: follow: %w", err)
	}
	if err := s.writeFile("standby.signal", ""); err != nil {
		return err
	}
	if err := s.writeConfig(following(primary)); err != nil {
		return err
	}
	return s.start(ctx)
}

// copyFrom takes a base backup. Its session stays open from the backup's start to its end, as the functions ask.
func (s *Server) copyFrom(ctx context.Context, primary *Server) error {
	w, err := dial(ctx, primary.socketPath(), "postgres")
	if err != nil {
		return err
	}
	defer w.close()
	begin, end := "SELECT pg_backup_start('standby', true)", "SELECT labelfile FROM pg_backup_stop(false)"
	if primary.before15() {
		begin, end = "SELECT pg_start_backup('standby', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)"
	}
	if _, err := w.query(ctx, begin); err != nil {
		return err
	}
	if err := s.copyFolder(ctx, primary.dataDir); err != nil {
		return err
	}
	rows, err := w.query(ctx, end)
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return errors.New("the end of the backup returned no label")
	}
	return s.writeFile("backup_label", rows[0][0])
}

// What a base backup leaves out: the files of the running primary, and the content of folders that a start fills anew,
// the write-ahead log among them, which is streamed.
var (
	skipFiles  = []string{"postmaster.pid", "postmaster.opts", "backup_label", "tablespace_map"}
	emptyDirs  = []string{"pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"}
	neededDirs = []string{"pg_wal/archive_status"}
)

func (s *Server) copyFolder(ctx context.Context, from string) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a running server removes files; the log that is replayed knows of it
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if err := s.makeDir(rel); err != nil {
				return err
			}
			if slices.Contains(emptyDirs, rel) {
				return fs.SkipDir
			}
			return nil
		case slices.Contains(skipFiles, rel), strings.HasPrefix(d.Name(), "pgsql_tmp"), !d.Type().IsRegular():
			return nil
		}
		return s.copyFile(path, rel)
	})
	if err != nil {
		return err
	}
	for _, rel := range neededDirs {
		if err := s.makeDir(rel); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) makeDir(rel string) error {
	path := filepath.Join(s.dataDir, rel)
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.user.own(path)
}

func (s *Server) copyFile(path, rel string) error {
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	to := filepath.Join(s.dataDir, rel)
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return s.user.own(to)
}

// Promote makes a standby a primary, and returns when it accepts writes.
func (s *Server) Promote(ctx context.Context) error {
	rows, err := s.Exec(ctx, "SELECT pg_promote(true, 3600)") // ctx is the real bound
	if err != nil {
		return err
	}
	if len(rows) != 1 || rows[0][0] != "t" {
		return errors.New("pgserver: the server was not promoted")
	}
	return nil
}
