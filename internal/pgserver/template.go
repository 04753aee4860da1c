package pgserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// TemplatesVariable names a folder in which data folders are kept as initdb makes them, one for each set of binaries.
// Servers that follow start from a copy, which takes a fifth of the time; they share the system identifier. Without the
// variable nothing outlives a server.
const TemplatesVariable = "LOCKKEEPER_PG_TEMPLATES"

// initialise fills the data folder.
func (s *Server) initialise(ctx context.Context) error {
	folder := os.Getenv(TemplatesVariable)
	if folder == "" {
		return s.initdb(ctx)
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	template := filepath.Join(folder, fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, s.binDir, "\n", s.version, "\n", s.durable)))[:16])
	_, err = os.Stat(template)
	if err == nil {
		return s.copyTemplate(ctx, template)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.initdb(ctx); err != nil {
		return err
	}
	return s.saveTemplate(ctx, template)
}

// copyTemplate copies with cp: a copy in Go, under the race detector, takes longer than all else that a start does.
func (s *Server) copyTemplate(ctx context.Context, template string) error {
	if err := run(ctx, account{}, "/", "cp", "-R", template, s.dataDir); err != nil || !s.user.set {
		return err
	}
	return run(ctx, account{}, "/", "chown", "-R", fmt.Sprintf("%d:%d", s.user.uid, s.user.gid), s.dataDir)
}

func (s *Server) initdb(ctx context.Context) error {
	pwfile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(pwfile, []byte(s.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := s.user.own(pwfile); err != nil {
		return err
	}
	args := []string{"--pgdata=" + s.dataDir, "--username=" + Superuser, "--pwfile=" + pwfile,
		"--auth-local=trust", "--auth-host=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-sync"}
	if !s.durable { // measurements have segments of 16 MB, as most servers do; elsewhere they would be 40 % of the data folder
		args = append(args, "--wal-segsize=1")
	}
	if err := run(ctx, s.user, s.dir, filepath.Join(s.binDir, "initdb"), args...); err != nil {
		return err
	}
	return os.Remove(pwfile)
}

// saveTemplate makes the template appear whole or not at all; another process may be faster.
func (s *Server) saveTemplate(ctx context.Context, template string) error {
	if err := os.MkdirAll(filepath.Dir(template), 0o700); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(template), "unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(unfinished)
	whole := filepath.Join(unfinished, "data")
	if err := run(ctx, account{}, "/", "cp", "-R", s.dataDir, whole); err != nil {
		return err
	}
	if err := os.Rename(whole, template); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
